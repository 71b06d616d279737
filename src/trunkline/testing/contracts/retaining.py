"""Retention: what limits take away, what they leave, and that counters outlive messages."""

from __future__ import annotations

import pytest

from trunkline.errors import ChannelKindError
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import EVERYTHING, Interest, PatternInterest
from trunkline.model.message import Limits
from trunkline.testing.clock import ManualClock
from trunkline.testing.contracts.support import (
    OpenLog,
    append,
    drafts,
    global_ids,
    message_ids,
    plain,
    stream,
    values,
    whole_channel,
    whole_line,
)

pytestmark = pytest.mark.anyio

A = ChannelKey("/a")


class RetentionContract:
    """Hold an engine to what retention promises."""

    async def test_size_keeps_the_newest(self, open_log: OpenLog) -> None:
        """With room for two, four publishes leave the last two under their own ids."""
        log = await open_log(Retention(Limits(max_backlog_size=2)))
        for number in range(1, 5):
            await append(log, [plain("/foo", number)])
        page = await log.read(ChannelKey("/foo"), 0)
        assert message_ids(page.records) == [3, 4]
        assert (page.floor, page.head) == (2, 4)

    async def test_size_counts_each_channel_by_itself(self, open_log: OpenLog) -> None:
        """Interleaved channels do not push each other's messages out."""
        log = await open_log(Retention(Limits(max_backlog_size=2)))
        for name in ("/foo", "/bar", "/bar", "/foo", "/bar"):
            await append(log, [plain(name, name)])
        assert message_ids(await whole_channel(log, "/foo")) == [1, 2]
        assert message_ids(await whole_channel(log, "/bar")) == [2, 3]

    async def test_size_at_publish_holds_for_that_publish(self, open_log: OpenLog) -> None:
        """A publish's own size trims at that publish; the next goes by the default again."""
        log = await open_log()
        await append(log, *drafts("/foo", 3))
        await append(log, [plain("/foo", "only", max_backlog_size=1)])
        assert values(await whole_channel(log, "/foo")) == ["only"]
        await append(log, *drafts("/foo", 2))
        assert values(await whole_channel(log, "/foo")) == ["only", 1, 2]

    async def test_size_at_every_publish(self, open_log: OpenLog) -> None:
        """The same size given with each of three publishes leaves that many."""
        log = await open_log()
        await append(log, *drafts("/foo", 3, max_backlog_size=2))
        assert values(await whole_channel(log, "/foo")) == [2, 3]

    async def test_own_settings_win_over_the_publish(self, open_log: OpenLog) -> None:
        """A channel with settings of its own keeps them whatever a publish says."""
        retention = Retention()
        retention.set("/foo/*", Limits(max_backlog_size=3))
        log = await open_log(retention)
        await append(log, *drafts("/foo/1", 6, max_backlog_size=1))
        assert values(await whole_channel(log, "/foo/1")) == [4, 5, 6]

    async def test_limits_change_on_the_live_line(self, open_log: OpenLog) -> None:
        """A limit set while the log is open holds from the next trim on."""
        retention = Retention()
        log = await open_log(retention)
        await append(log, *drafts("/a", 10))
        retention.set("/a", Limits(max_backlog_size=4))
        await append(log, [plain("/a", 11)])
        assert values(await whole_channel(log, "/a")) == [8, 9, 10, 11]
        retention.set("/a", None)
        await append(log, [plain("/a", 12)])
        assert len(await whole_channel(log, "/a")) == 5

    async def test_clear_every_trims_at_every_nth_id(self, open_log: OpenLog) -> None:
        """Size is looked at only at ids that ``clear_every`` divides."""
        log = await open_log(Retention(Limits(max_backlog_size=2, clear_every=5)))
        counts = []
        for number in range(10):
            await append(log, [plain("/a", number)])
            counts.append(len(await whole_channel(log, "/a")))
        assert counts == [1, 2, 3, 4, 2, 3, 4, 5, 6, 2]

    async def test_age_counts_per_message(self, open_log: OpenLog) -> None:
        """Messages go when they are older than the age, also on a channel in constant use."""
        clock = ManualClock()
        log = await open_log(Retention(Limits(max_backlog_age=10.0)), clock)
        for number in range(6):
            await append(log, [plain("/a", number)])
            clock.advance(4.0)
        assert values(await whole_channel(log, "/a")) == [3, 4, 5]

    async def test_age_in_a_sweep_needs_no_publish(self, open_log: OpenLog) -> None:
        """A silent channel is emptied by a sweep, which says how many messages went."""
        clock = ManualClock()
        log = await open_log(Retention(Limits(max_backlog_age=1.0)), clock)
        await append(log, *drafts("/a", 3), *drafts("/b", 2))
        clock.advance(0.75)
        await append(log, [plain("/b", 3)])
        assert await log.sweep() == 0
        clock.advance(0.75)
        assert await log.sweep() == 5
        assert values(await whole_line(log)) == [3]
        assert await log.sweep() == 0
        assert (await log.last_ids([A])).ids[A] == 3

    async def test_age_at_publish_trims_that_channel_only(self, open_log: OpenLog) -> None:
        """A publish's own age expires older messages of its channel, nobody else's."""
        clock = ManualClock()
        log = await open_log(clock=clock)
        await append(log, *drafts("/a", 2), *drafts("/b", 2))
        clock.advance(5.0)
        await append(log, [plain("/a", "new", max_backlog_age=1.0)])
        assert values(await whole_channel(log, "/a")) == ["new"]
        assert values(await whole_channel(log, "/b")) == [1, 2]

    async def test_idle_channel_goes_as_a_whole(self, open_log: OpenLog) -> None:
        """After ``max_idle`` without a publish all goes; a used channel keeps all."""
        clock = ManualClock()
        retention = Retention(Limits(max_backlog_age=None, max_idle=10.0))
        log = await open_log(retention, clock)
        await append(log, *drafts("/used", 2), *drafts("/idle", 2))
        for _ in range(3):
            clock.advance(6.0)
            await append(log, [plain("/used", "again")])
            await log.sweep()
        assert len(await whole_channel(log, "/used")) == 5
        assert await whole_channel(log, "/idle") == []
        assert (await log.read(ChannelKey("/idle"), 0)).floor == 2

    async def test_cap_over_the_line_drops_the_oldest(self, open_log: OpenLog) -> None:
        """Over the cap a sweep drops the oldest plain messages, and no event of a stream."""
        retention = Retention(max_line_size=3)
        log = await open_log(retention)
        kept = ["kept"] if log.keeps_streams else []
        if kept:
            await append(log, [stream("/stream/t/1", "kept", 0)])
        for number in range(6):
            await append(log, [plain(f"/c/{number % 3}", number)])
        assert await log.sweep() == 3
        assert values(await whole_line(log)) == [*kept, 3, 4, 5]
        retention.max_line_size = 2
        assert await log.sweep() == 1
        assert values(await whole_line(log)) == [*kept, 4, 5]
        retention.max_line_size = None
        assert await log.sweep() == 0

    async def test_trim_hides_a_prefix_at_once(self, open_log: OpenLog) -> None:
        """Trimmed messages are gone from every reading; the count of what went is returned."""
        log = await open_log()
        await append(log, *drafts("/a", 5), *drafts("/b", 2))
        assert await log.trim(A, 3) == 3
        assert await log.trim(A, 3) == 0
        assert await log.trim(A, 2) == 0
        assert values(await whole_channel(log, "/a")) == [4, 5]
        assert global_ids(await whole_line(log)) == [4, 5, 6, 7]
        assert global_ids(await whole_line(log, Interest(keys=frozenset({A})))) == [4, 5]
        assert await log.trim(ChannelKey("/unknown"), 5) == 0

    async def test_floor_names_what_is_lost_within_the_selection(self, open_log: OpenLog) -> None:
        """A page's floor is the newest trimmed position among the channels it selects."""
        log = await open_log()
        await append(log, *drafts("/a", 3), *drafts("/b", 3), *drafts("/c", 3))
        await log.trim(A, 2)
        await log.trim(ChannelKey("/b"), 3)

        async def floor(interest: Interest | None) -> int:
            return (await log.read_all(0, 1000, interest)).floor

        def named(*names: str) -> Interest:
            return Interest(keys=frozenset(map(ChannelKey, names)))

        assert await floor(None) == 6
        assert await floor(EVERYTHING) == 6
        assert await floor(named("/a")) == 2
        assert await floor(named("/a", "/b")) == 6
        assert await floor(named("/c")) == 0
        assert await floor(Interest(patterns=frozenset({PatternInterest("/a")}))) == 2
        assert await floor(Interest(patterns=frozenset({PatternInterest("/c")}))) == 0
        many = named("/a", "/c", *(f"/x/{number}" for number in range(100)))
        assert await floor(many) == 2

    async def test_counter_outlives_all_messages(self, open_log: OpenLog) -> None:
        """Trim everything, publish, and see the ids continue; the epoch stays."""
        log = await open_log()
        await append(log, *drafts("/a", 5))
        epoch = (await log.read_all(0)).epoch
        assert await log.trim(A, 999) == 5
        await log.sweep()
        empty = await log.read(A, 0)
        assert (list(empty.records), empty.floor, empty.head, empty.upto) == ([], 5, 5, 5)
        line = await log.read_all(0)
        assert (list(line.records), line.floor, line.head, line.upto) == ([], 5, 5, 5)
        (receipt,) = await append(log, [plain("/a", "on")])
        assert (receipt.message_id, receipt.global_id, receipt.epoch) == (6, 6, epoch)
        assert message_ids(await whole_channel(log, "/a")) == [6]

    async def test_nothing_hidden_is_read_again(self, open_log: OpenLog) -> None:
        """Whatever is trimmed, appended and swept in between: below the floor there is nothing."""
        log = await open_log(Retention(Limits(max_backlog_size=7)))
        for turn in range(60):
            await append(log, *drafts("/a", 20), *drafts("/b", 3))
            if turn % 20 == 7:
                await log.sweep()
            page = await log.read(A, 0)
            assert message_ids(page.records) == list(range(page.head - 6, page.head + 1))
            assert page.floor == page.head - 7
        assert len(await whole_line(log)) == 14

    async def test_stream_is_never_trimmed(self, open_log: OpenLog) -> None:
        """Trim refuses a stream; size, age, idleness and cap pass it by."""
        clock = ManualClock()
        limits = Limits(max_backlog_size=1, max_backlog_age=1.0, max_idle=1.0)
        log = await open_log(Retention(limits, max_line_size=1), clock)
        count = 4 if log.keeps_streams else 0
        for version in range(count):
            await append(log, [stream("/stream/t/1", version, version)])
            clock.advance(10.0)
        assert await log.sweep() == 0
        with pytest.raises(ChannelKindError):
            await log.trim(ChannelKey("/stream/t/1"), 2)
        with pytest.raises(ChannelKindError):
            await log.trim(ChannelKey("/stream/t/never"), 2)
        assert values(await whole_channel(log, "/stream/t/1")) == list(range(count))

    async def test_channels_show_backlog_and_floor(self, open_log: OpenLog) -> None:
        """A channel's description has its last id, floor, backlog and time."""
        clock = ManualClock(5000.0)
        log = await open_log(Retention(Limits(max_backlog_size=2)), clock)
        await append(log, *drafts("/a", 5))
        (state,) = await log.channels()
        assert (state.key, state.last_id, state.floor, state.backlog) == (A, 5, 3, 2)
        assert state.published_at == 5000.0

    async def test_own_channels_are_trimmed_like_any(self, open_log: OpenLog) -> None:
        """The limits hold for Trunkline's own channels too, so that they cannot grow for ever."""
        log = await open_log(Retention(Limits(max_backlog_size=2)))
        await append(log, *drafts("/__trunkline/control", 5))
        assert len(await whole_channel(log, "/__trunkline/control")) == 2
