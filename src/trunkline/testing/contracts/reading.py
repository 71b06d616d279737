"""Pages: order, floor, head and upto, bounds, and which channels a reader gets."""

from __future__ import annotations

import pytest

from trunkline.model.channel import ChannelKey, channel_key
from trunkline.model.interest import ANY_SITE, EVERYTHING, Interest, PatternInterest
from trunkline.testing.contracts.support import (
    OpenLog,
    append,
    drafts,
    global_ids,
    message_ids,
    plain,
    values,
    whole_channel,
    whole_line,
)

pytestmark = pytest.mark.anyio


def wanting(*names: str, site: str | None = None) -> Interest:
    """Return the interest in some channels of one site."""
    return Interest(keys=frozenset(channel_key(name, site) for name in names))


def matching(*patterns: str, site: str | None = None) -> Interest:
    """Return the interest in some patterns on one site."""
    return Interest(patterns=frozenset(PatternInterest(text, site) for text in patterns))


class ReadContract:
    """Hold an engine to what reading promises."""

    async def test_channel_never_written_to_reads_as_empty(self, open_log: OpenLog) -> None:
        """An unknown channel is an empty page, and reading makes no channel."""
        log = await open_log()
        page = await log.read(ChannelKey("/nowhere"), 0)
        assert (list(page.records), page.floor, page.head, page.upto) == ([], 0, 0, 0)
        page = await log.read_all(0, interest=wanting("/nowhere"))
        assert (list(page.records), page.floor, page.head, page.upto) == ([], 0, 0, 0)
        assert list(await log.channels()) == []

    async def test_read_returns_what_is_after_an_id(self, open_log: OpenLog) -> None:
        """Later messages come in order, and none of a channel with a common prefix."""
        log = await open_log()
        await append(log, *drafts("/foo", 5), *drafts("/foobar", 3), *drafts("/foo/bar", 3))
        page = await log.read(ChannelKey("/foo"), 2)
        assert message_ids(page.records) == [3, 4, 5]
        assert (page.head, page.upto, page.floor) == (5, 5, 0)
        for beyond in (5, 6, 2**62, 2**63 - 1):
            page = await log.read(ChannelKey("/foo"), beyond)
            assert (list(page.records), page.head, page.upto) == ([], 5, 5)

    async def test_full_page_says_where_to_read_on(self, open_log: OpenLog) -> None:
        """A page that the limit cut ends at its last message; the last page at the head."""
        log = await open_log()
        await append(log, *drafts("/a", 5))
        page = await log.read(ChannelKey("/a"), 0, 2)
        assert (message_ids(page.records), page.upto, page.head) == ([1, 2], 2, 5)
        page = await log.read(ChannelKey("/a"), 3, 2)
        assert (message_ids(page.records), page.upto, page.head) == ([4, 5], 5, 5)
        line = await log.read_all(0, 4)
        assert (global_ids(line.records), line.upto, line.head) == ([1, 2, 3, 4], 4, 5)
        line = await log.read_all(4, 4)
        assert (global_ids(line.records), line.upto, line.head) == ([5], 5, 5)

    async def test_page_ends_at_its_size_but_holds_one_message(self, open_log: OpenLog) -> None:
        """Large messages end a page early, and reading on loses none."""
        log = await open_log()
        await append(log, *([plain("/big", "x" * 900_000)] for _ in range(7)))
        page = await log.read(ChannelKey("/big"), 0)
        assert 1 <= len(page.records) < 7
        assert page.upto == page.records[-1].message_id
        line = await log.read_all(0)
        assert 1 <= len(line.records) < 7
        assert message_ids(await whole_channel(log, "/big")) == [1, 2, 3, 4, 5, 6, 7]
        assert global_ids(await whole_line(log)) == [1, 2, 3, 4, 5, 6, 7]

    async def test_interest_by_name(self, open_log: OpenLog) -> None:
        """Named channels come merged in global order, whatever the limit; others don't."""
        log = await open_log()
        for number in range(30):
            await append(log, [plain(f"/c/{number % 3}", number)])
        for limit in (1, 4, 1000):
            records = await whole_line(log, wanting("/c/0", "/c/2"), limit=limit)
            assert values(records) == [number for number in range(30) if number % 3 != 1]
        later = await whole_line(log, wanting("/c/0", "/c/2"), after=25)
        assert global_ids(later) == [27, 28, 30]

    async def test_interest_by_many_names(self, open_log: OpenLog) -> None:
        """A reader of hundreds of channels gets them all in global order."""
        log = await open_log()
        await append(log, [plain(f"/c/{number % 250}", number) for number in range(500)])
        interest = wanting(*(f"/c/{number}" for number in range(1, 250)))
        records = await whole_line(log, interest, limit=7)
        assert values(records) == [number for number in range(500) if number % 250 != 0]

    async def test_interest_by_pattern(self, open_log: OpenLog) -> None:
        """Patterns pick by segment: ``*`` one, ``**`` the rest, ``:name`` one."""
        log = await open_log()
        names = ["/a", "/a/1", "/a/2", "/a/1/x", "/b/1"]
        await append(log, [plain(name, name) for name in names])
        for pattern, expected in {
            "/a/*": ["/a/1", "/a/2"],
            "/a/**": ["/a/1", "/a/2", "/a/1/x"],
            "/:one/1": ["/a/1", "/b/1"],
            "/a": ["/a"],
        }.items():
            assert values(await whole_line(log, matching(pattern))) == expected
        both = await whole_line(log, matching("/b/*") | wanting("/a"))
        assert values(both) == ["/a", "/b/1"]

    async def test_sites_are_apart_and_global_channels_reach_all(self, open_log: OpenLog) -> None:
        """A site's reader sees its own channels and /global/; each site counts its own ids."""
        log = await open_log()
        await append(log, [plain("/a", "none"), plain("/a", "s", site="s")])
        await append(log, [plain("/a", "t", site="t"), plain("/global/g", "all")])
        assert values(await whole_line(log, wanting("/a", site="s"))) == ["s"]
        assert values(await whole_line(log, matching("/**", site="s"))) == ["s", "all"]
        assert values(await whole_line(log, matching("/**"))) == ["none", "all"]
        assert values(await whole_line(log, wanting("/global/g", site="t"))) == ["all"]
        assert values(await whole_line(log, EVERYTHING)) == ["none", "s", "t", "all"]
        page = await log.read(ChannelKey("/a", "t"), 0)
        assert message_ids(page.records) == [1]

    async def test_own_channels_are_hidden_from_patterns(self, open_log: OpenLog) -> None:
        """Trunkline's own channels come by name or to a reader of all, never by pattern."""
        log = await open_log()
        await append(log, [plain("/__trunkline/revoke", "own"), plain("/a", "theirs")])
        assert values(await whole_line(log, EVERYTHING)) == ["theirs"]
        assert values(await whole_line(log, matching("/**", site=ANY_SITE))) == ["theirs"]
        assert values(await whole_line(log, wanting("/__trunkline/revoke"))) == ["own"]
        assert values(await whole_line(log)) == ["own", "theirs"]

    async def test_unwanted_messages_move_the_reader_on(self, open_log: OpenLog) -> None:
        """A reader of a quiet channel reaches the head past thousands of others' messages."""
        log = await open_log()
        await append(log, [plain("/quiet", "first")])
        await append(log, [plain("/busy", number) for number in range(900)])
        await append(log, [plain("/busy", number) for number in range(900)])
        for interest in (wanting("/quiet"), matching("/quiet/**")):
            after = pages = 0
            while True:
                page = await log.read_all(after, 10, interest)
                pages += 1
                after = page.upto
                if after >= page.head:
                    break
            assert after == 1801
            assert pages < 900
        empty = await log.read_all(0, 10, Interest())
        assert (list(empty.records), empty.upto) == ([], 1801)

    async def test_last_ids_of_one_moment(self, open_log: OpenLog) -> None:
        """Ids of all asked for, zero for the unknown, with the line's head and epoch."""
        log = await open_log()
        await append(log, *drafts("/foo", 3), *drafts("/bar", 2), *drafts("/bar", 1, site="s"))
        keys = [
            ChannelKey("/foo"),
            ChannelKey("/bar"),
            ChannelKey("/none"),
            ChannelKey("/bar", "s"),
        ]
        heads = await log.last_ids(keys)
        assert dict(heads.ids) == dict(zip(keys, [3, 2, 0, 1], strict=True))
        assert heads.head == 6
        assert heads.epoch == (await log.read_all(0)).epoch
        assert dict((await log.last_ids([])).ids) == {}

    async def test_channels_are_listed_by_site_and_name(self, open_log: OpenLog) -> None:
        """The list goes by (site, name), no site first, and on from any key."""
        log = await open_log()
        names = [("/b", None), ("/a", None), ("/a", "t"), ("/c", "s"), ("/B", None), ("/é", None)]
        await append(log, [plain(name, 1, site=site) for name, site in names])
        listed = [state.key for state in await log.channels()]
        assert listed == sorted(
            (ChannelKey(name, site) for name, site in names),
            key=lambda key: (key.site_id or "", key.name),
        )
        paged: list[ChannelKey] = []
        while page := await log.channels(paged[-1] if paged else None, 4):
            paged += [state.key for state in page]
        assert paged == listed

    async def test_reset_starts_a_new_epoch(self, open_log: OpenLog) -> None:
        """A reset empties the line, counts from 1 again, and says so by a new epoch."""
        log, other = await open_log(), await open_log()
        await append(log, *drafts("/a", 3))
        before = await log.read_all(0)
        epoch = await log.reset()
        assert epoch != before.epoch
        page = await other.read_all(0)
        assert (list(page.records), page.head, page.floor, page.epoch) == ([], 0, 0, epoch)
        assert list(await log.channels()) == []
        (receipt,) = await append(other, [plain("/a", "anew")])
        assert (receipt.message_id, receipt.global_id, receipt.epoch) == (1, 1, epoch)
        assert values(await whole_channel(log, "/a")) == ["anew"]
