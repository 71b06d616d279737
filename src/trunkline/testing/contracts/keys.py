"""Idempotency keys: the same again gives the first receipt, other content is an error."""

from __future__ import annotations

import asyncio

import pytest

from trunkline.errors import KeyReusedError, VersionConflictError
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.testing.clock import ManualClock
from trunkline.testing.contracts.support import (
    OpenLog,
    append,
    plain,
    refused,
    values,
    versioned,
    whole_channel,
)

pytestmark = pytest.mark.anyio


class KeyContract:
    """Hold an engine to what idempotency keys promise."""

    async def test_key_with_same_content_gives_the_first_receipt(self, open_log: OpenLog) -> None:
        """A repeat stores nothing and answers with the first ids, marked as a repeat."""
        log = await open_log()
        (first,) = await append(log, [plain("/a", {"n": 1}, key="k")])
        await append(log, [plain("/a", 2)])
        (again,) = await append(log, [plain("/a", {"n": 1}, key="k")])
        assert (again.message_id, again.global_id) == (first.message_id, first.global_id)
        assert (first.is_repeat, again.is_repeat) == (False, True)
        assert values(await whole_channel(log, "/a")) == [{"n": 1}, 2]

    async def test_key_with_other_content_is_refused(self, open_log: OpenLog) -> None:
        """Other data, audience or headers under a known key is an error that names the key."""
        log = await open_log()
        await append(log, [plain("/a", 1, key="k")])
        for other in (
            plain("/a", 2, key="k"),
            plain("/a", 1, key="k", audience=b'{"user_ids":[1]}'),
            plain("/a", 1, key="k", headers=b'{"h":1}'),
        ):
            error = await refused(log, other)
            assert isinstance(error, KeyReusedError)
            assert (error.channel, error.key) == ("/a", "k")
        assert values(await whole_channel(log, "/a")) == [1]

    async def test_keys_are_scoped_to_their_channel(self, open_log: OpenLog) -> None:
        """The same key on another channel or site is another key."""
        log = await open_log()
        receipts = await append(
            log,
            [plain("/a", 1, key="k")],
            [plain("/b", 2, key="k")],
            [plain("/a", 3, key="k", site="s")],
        )
        assert [one.is_repeat for one in receipts] == [False, False, False]

    async def test_key_is_known_after_its_message_was_trimmed(self, open_log: OpenLog) -> None:
        """A receipt lives by itself: trimming and sweeping do not forget the key."""
        log = await open_log()
        (first,) = await append(log, [plain("/a", 1, key="k")])
        await log.trim(ChannelKey("/a"), 1)
        await log.sweep()
        (again,) = await append(log, [plain("/a", 1, key="k")])
        assert again.is_repeat
        assert again.message_id == first.message_id
        assert await whole_channel(log, "/a") == []

    async def test_key_is_forgotten_after_its_age(self, open_log: OpenLog) -> None:
        """A sweep within the age keeps the key, one after it lets the key be used anew."""
        clock = ManualClock()
        log = await open_log(Retention(receipt_age=3600.0), clock)
        await append(log, [plain("/a", 1, key="k")])
        clock.advance(3599.0)
        await log.sweep()
        (kept,) = await append(log, [plain("/a", 1, key="k")])
        assert kept.is_repeat
        clock.advance(2.0)
        await log.sweep()
        (anew,) = await append(log, [plain("/a", "other", key="k")])
        assert not anew.is_repeat
        assert anew.message_id == 2

    async def test_key_twice_in_one_group(self, open_log: OpenLog) -> None:
        """Within a group the second of two equal drafts is a repeat; an unequal one refuses."""
        log = await open_log()
        receipts = await append(log, [plain("/a", 1, key="k"), plain("/a", 1, key="k")])
        assert [(one.message_id, one.is_repeat) for one in receipts] == [(1, False), (1, True)]
        error = await refused(log, plain("/a", 2, key="x"), plain("/a", 3, key="x"))
        assert isinstance(error, KeyReusedError)
        assert values(await whole_channel(log, "/a")) == [1]

    async def test_key_twice_at_once_stores_once(self, open_log: OpenLog) -> None:
        """Ten callers retry the same append together: one message, the same ids for all."""
        log = await open_log()
        results = await asyncio.gather(*(append(log, [plain("/a", 1, key="k")]) for _ in range(10)))
        assert {one.message_id for (one,) in results} == {1}
        assert sum(not one.is_repeat for (one,) in results) == 1

    async def test_repeat_goes_before_the_expected_version(self, open_log: OpenLog) -> None:
        """A retried append at a version that its first try used up is a repeat, no conflict."""
        log = await open_log()
        await append(log, [versioned(log, "made", 0, key="k")])
        (again,) = await append(log, [versioned(log, "made", 0, key="k")])
        assert again.is_repeat
        error = await refused(log, versioned(log, "made", 0, key="other"))
        assert isinstance(error, VersionConflictError)

    async def test_repeat_in_a_group_moves_no_version(self, open_log: OpenLog) -> None:
        """A repeat beside new drafts counts for nothing in the versions they expect."""
        log = await open_log()
        await append(log, [plain("/a", 1, key="k")])
        receipts = await append(
            log, [plain("/a", 1, key="k"), plain("/a", 2, expected_version=1, key="l")]
        )
        assert [(one.message_id, one.is_repeat) for one in receipts] == [(1, True), (2, False)]

    async def test_refused_group_leaves_no_key(self, open_log: OpenLog) -> None:
        """The key of a draft whose group was refused is free."""
        log = await open_log()
        await refused(log, plain("/a", 1, key="k"), plain("/a", 2, expected_version=9))
        (receipt,) = await append(log, [plain("/a", "other", key="k")])
        assert not receipt.is_repeat

    async def test_reset_forgets_keys(self, open_log: OpenLog) -> None:
        """After a reset a key is new."""
        log = await open_log()
        await append(log, [plain("/a", 1, key="k")])
        await log.reset()
        (receipt,) = await append(log, [plain("/a", 2, key="k")])
        assert not receipt.is_repeat
