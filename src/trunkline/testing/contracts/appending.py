"""Appends: dense ids, groups whole or not at all, expected versions, kinds."""

from __future__ import annotations

import asyncio

import pytest

from trunkline.errors import (
    ChannelKindError,
    KeyReusedError,
    LineClosedError,
    TrunklineError,
    VersionConflictError,
)
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import MAX_MESSAGE_BYTES, Draft
from trunkline.model.position import Position
from trunkline.testing.clock import ManualClock
from trunkline.testing.contracts.support import (
    OpenLog,
    append,
    drafts,
    global_ids,
    message_ids,
    plain,
    refused,
    stream,
    values,
    versioned,
    whole_channel,
    whole_line,
)

pytestmark = pytest.mark.anyio


class AppendContract:
    """Hold an engine to what appending promises."""

    async def test_ids_are_dense_per_channel_and_per_line(self, open_log: OpenLog) -> None:
        """Ids count 1, 2, 3 … in each channel, and over all channels in the order written."""
        log = await open_log()
        receipts = []
        for name in ("/foo", "/hello", "/foo", "/hello"):
            receipts += await append(log, [plain(name, name)])
        assert [(one.global_id, one.message_id) for one in receipts] == [
            (1, 1),
            (2, 1),
            (3, 2),
            (4, 2),
        ]
        line = await whole_line(log)
        assert [(one.global_id, one.message_id, one.channel.name) for one in line] == [
            (1, 1, "/foo"),
            (2, 1, "/hello"),
            (3, 2, "/foo"),
            (4, 2, "/hello"),
        ]

    async def test_concurrent_appends_leave_no_hole(self, open_log: OpenLog) -> None:
        """Forty publishers at once on three channels: every id once, none missing."""
        log = await open_log()

        async def publish(who: int) -> None:
            for number in range(10):
                await append(log, [plain(f"/c/{(who + number) % 3}", [who, number])])

        async with asyncio.TaskGroup() as group:
            for who in range(40):
                group.create_task(publish(who))
        line = await whole_line(log)
        assert global_ids(line) == list(range(1, 401))
        for channel in range(3):
            records = await whole_channel(log, f"/c/{channel}")
            assert message_ids(records) == list(range(1, len(records) + 1))
        for who in range(40):
            mine = [value for value in values(line) if value[0] == who]
            assert mine == [[who, number] for number in range(10)], "own order is kept"

    async def test_receipt_names_the_stored_message(self, open_log: OpenLog) -> None:
        """A receipt's ids, channel and epoch lead to the message as it was given."""
        log = await open_log()
        draft = plain("/a", {"x": 1}, site="s", audience=b'{"user_ids":[1]}', headers=b'{"h":2}')
        (receipt,) = await append(log, [draft])
        page = await log.read(ChannelKey("/a", "s"), 0)
        (record,) = page.records
        assert (receipt.channel, receipt.message_id, receipt.global_id) == (draft.channel, 1, 1)
        assert receipt.position == Position(page.epoch, 1)
        assert not receipt.is_repeat
        assert (record.data, record.audience, record.headers) == (
            draft.data,
            draft.audience,
            draft.headers,
        )

    async def test_group_is_stored_as_a_whole_in_order(self, open_log: OpenLog) -> None:
        """A group's drafts get ids in a row, over several channels."""
        log = await open_log()
        receipts = await append(log, [plain("/a", 1), plain("/b", 2), plain("/a", 3)])
        assert [(one.global_id, one.message_id) for one in receipts] == [(1, 1), (2, 1), (3, 2)]

    async def test_group_with_one_refused_draft_stores_nothing(self, open_log: OpenLog) -> None:
        """A conflict in the last draft keeps the first ones out, and costs no id."""
        log = await open_log()
        error = await refused(
            log, plain("/a", 1), plain("/new", 2), plain("/a", 3, expected_version=7)
        )
        assert isinstance(error, VersionConflictError)
        assert await whole_line(log) == []
        (receipt,) = await append(log, [plain("/a", 4)])
        assert (receipt.global_id, receipt.message_id) == (1, 1)
        assert (await log.last_ids([ChannelKey("/new")])).ids[ChannelKey("/new")] == 0

    async def test_refused_group_leaves_its_neighbours_unharmed(self, open_log: OpenLog) -> None:
        """In one call, groups beside a refused one are stored with dense ids."""
        log = await open_log()
        outcomes = await log.append(
            [
                [plain("/a", 1)],
                [plain("/a", 2), plain("/a", 3, expected_version=9)],
                [plain("/a", 4)],
            ]
        )
        assert [isinstance(one, TrunklineError) for one in outcomes] == [False, True, False]
        assert values(await whole_channel(log, "/a")) == [1, 4]
        assert global_ids(await whole_line(log)) == [1, 2]

    async def test_empty_call_and_empty_group_store_nothing(self, open_log: OpenLog) -> None:
        """No groups give no outcomes, an empty group no receipts."""
        log = await open_log()
        assert list(await log.append([])) == []
        assert [tuple(one) for one in await log.append([[]])] == [()]  # type: ignore[arg-type]
        assert await whole_line(log) == []

    async def test_expected_version_must_be_the_last_id(self, open_log: OpenLog) -> None:
        """An append goes in at the expected version and at no other; the error names both."""
        log = await open_log()
        await append(log, [plain("/a", 1, expected_version=0)])
        await append(log, [plain("/a", 2, expected_version=1)])
        for wrong in (0, 1, 3):
            error = await refused(log, plain("/a", 3, expected_version=wrong))
            assert isinstance(error, VersionConflictError)
            assert (error.channel, error.expected, error.actual) == ("/a", wrong, 2)
        assert values(await whole_channel(log, "/a")) == [1, 2]

    async def test_expected_versions_count_on_within_a_group(self, open_log: OpenLog) -> None:
        """Later drafts of a group see the earlier ones."""
        log = await open_log()
        await append(log, [plain("/a", 1, expected_version=0), plain("/a", 2, expected_version=1)])
        error = await refused(
            log, plain("/a", 3, expected_version=2), plain("/a", 4, expected_version=2)
        )
        assert isinstance(error, VersionConflictError)
        assert error.actual == 3

    async def test_of_rivals_with_one_expected_version_one_wins(self, open_log: OpenLog) -> None:
        """Twenty appends at the same version at once: one is stored, nineteen conflict."""
        log = await open_log()
        outcomes: list[object] = []

        async def rival(number: int) -> None:
            outcomes.extend(await log.append([[versioned(log, number, 0)]]))

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(rival(number))
        assert sum(isinstance(one, tuple) for one in outcomes) == 1
        assert sum(isinstance(one, VersionConflictError) for one in outcomes) == 19
        assert len(await whole_line(log)) == 1

    async def test_stream_and_plain_channels_do_not_mix(self, open_log: OpenLog) -> None:
        """Plain appends to a stream's name, and streams elsewhere or without version, fail."""
        log = await open_log()
        if not log.keeps_streams:
            error = await refused(log, stream("/stream/test/1", "made", 0))
            assert isinstance(error, ChannelKindError)
        else:
            await append(log, [stream("/stream/test/1", "made", 0)])
        await append(log, [plain("/a", 1)])
        wrong: list[Draft] = [
            plain("/stream/test/1", "x"),
            plain("/stream/test/2", "x"),
            plain("/stream/test/1", "x", expected_version=1),
            plain("/stream/test/1", "x", kind=Kind.STREAM),
            stream("/a", "x", 1),
            stream("/b", "x", 0),
            stream("/stream/test", "x", 0),
        ]
        for draft in wrong:
            error = await refused(log, draft)
            assert isinstance(error, ChannelKindError), draft
        expected = {"/a": Kind.PLAIN}
        if log.keeps_streams:
            expected["/stream/test/1"] = Kind.STREAM
        assert len(await whole_line(log)) == len(expected)
        states = await log.channels()
        assert {one.key.name: one.kind for one in states} == expected

    async def test_largest_message_comes_back_to_the_byte(self, open_log: OpenLog) -> None:
        """A message at the size limit is stored and read, data, names and all."""
        log = await open_log()
        text = "ü" + "x" * (MAX_MESSAGE_BYTES - 4)
        draft = plain("/ä/||/☃", text).check_size()
        assert draft.size == MAX_MESSAGE_BYTES
        await append(log, [draft])
        (record,) = await whole_channel(log, "/ä/||/☃")
        assert record.data == draft.data

    async def test_published_at_never_decreases(self, open_log: OpenLog) -> None:
        """When the clock is set back, the line's time stands still until the clock is there."""
        clock = ManualClock(1000.0)
        log = await open_log(clock=clock)
        for step in (0.0, -500.0, 200.0, 400.0):
            clock.step(step)
            await append(log, [plain("/a", clock.now())])
        times = [record.published_at for record in await whole_line(log)]
        assert times == [1000.0, 1000.0, 1000.0, 1100.0]

    async def test_cancelled_caller_takes_nothing_with_it(self, open_log: OpenLog) -> None:
        """Cancelling one of many appenders loses no other's message and doubles none."""
        log = await open_log()
        tasks = [asyncio.create_task(append(log, [plain("/a", number)])) for number in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::5]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await append(log, [plain("/a", "last")])
        stored = values(await whole_channel(log, "/a"))
        assert len(set(map(str, stored))) == len(stored), "none is doubled"
        for number, result in enumerate(results):
            if not isinstance(result, BaseException):
                assert stored[result[0].message_id - 1] == number
        assert sum(not isinstance(one, BaseException) for one in results) >= 40

    async def test_closed_log_refuses(self, open_log: OpenLog) -> None:
        """After close every call says so; closing again does nothing."""
        log = await open_log()
        await append(log, [plain("/a", 1)])
        await log.close()
        await log.close()
        with pytest.raises(LineClosedError):
            await log.append(drafts("/a", 1))
        with pytest.raises(LineClosedError):
            await log.read(ChannelKey("/a"), 0)
        with pytest.raises(LineClosedError):
            await log.read_all(0)

    async def test_close_finishes_what_was_accepted(self, open_log: OpenLog) -> None:
        """Appends under way when close is called are answered with receipts."""
        log = await open_log()
        tasks = [asyncio.create_task(append(log, [plain("/a", n)])) for n in range(20)]
        await asyncio.sleep(0)
        await log.close()
        receipts = await asyncio.gather(*tasks)
        assert [one.message_id for (one,) in receipts] == list(range(1, 21))

    async def test_two_handles_are_one_line(self, open_log: OpenLog) -> None:
        """What is appended through one handle takes its place in the other's ids."""
        one, other = await open_log(), await open_log()
        for number in range(10):
            await append((one, other)[number % 2], [plain("/a", number), plain(f"/n/{number}", 0)])
        assert values(await whole_channel(one, "/a")) == list(range(10))
        assert global_ids(await whole_line(other)) == list(range(1, 21))
        error = await refused(one, plain("/a", "x", expected_version=9))
        assert isinstance(error, VersionConflictError)

    async def test_key_error_keeps_the_rest_of_a_group_out(self, open_log: OpenLog) -> None:
        """A reused key refuses the group before anything of it is stored."""
        log = await open_log()
        await append(log, [plain("/a", 1, key="k")])
        error = await refused(log, plain("/b", 1), plain("/a", 2, key="k"))
        assert isinstance(error, KeyReusedError)
        assert await whole_channel(log, "/b") == []
