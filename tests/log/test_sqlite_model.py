"""SQLite against memory: whatever is done to both, they answer the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trunkline.errors import TrunklineError
from trunkline.log.memory import MemoryLog
from trunkline.log.retention import Retention
from trunkline.log.sqlite import SQLiteLog
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.interest import ANY_SITE, Interest, PatternInterest
from trunkline.model.message import Draft, Limits
from trunkline.testing.clock import ManualClock

KEYS = [
    ChannelKey("/a"),
    ChannelKey("/a", "s"),
    ChannelKey("/b/1"),
    ChannelKey("/b/2"),
    ChannelKey("/global/g"),
    ChannelKey("/stream/t/1"),
    ChannelKey("/__trunkline/x"),
]

RIGHT = -1

sizes = st.none() | st.integers(1, 4)
ages = st.none() | st.sampled_from([1.0, 5.0, 60.0])


@st.composite
def drafts(draw):
    key = draw(st.sampled_from(KEYS))
    is_stream = key.name.startswith("/stream") != (draw(st.integers(0, 19)) == 0)
    return Draft(
        channel=key,
        data=b"%d" % draw(st.integers(0, 3)),
        headers=draw(st.sampled_from([None, b"{}"])),
        kind=Kind.STREAM if is_stream else Kind.PLAIN,
        # RIGHT is replaced by the channel's version when the draft is used.
        expected_version=draw(st.sampled_from([RIGHT, RIGHT, RIGHT, 0, 1, 5, None])),
        key=draw(st.sampled_from([None, None, None, "k", "l"])),
        max_backlog_size=draw(sizes),
        max_backlog_age=draw(ages),
    )


interests = st.none() | st.builds(
    Interest,
    st.frozensets(st.sampled_from(KEYS), max_size=4),
    st.frozensets(
        st.builds(
            PatternInterest,
            st.sampled_from(["/**", "/b/*", "/a", "/global/**"]),
            st.sampled_from([None, "s", ANY_SITE]),
        ),
        max_size=2,
    ),
)


def told(outcome):
    """Return what can be compared of an outcome: ids, or the error's kind and text."""
    if isinstance(outcome, TrunklineError):
        return type(outcome), str(outcome)
    return [(one.channel, one.message_id, one.global_id, one.is_repeat) for one in outcome]


class SQLiteAgainstMemory(RuleBasedStateMachine):
    """Do everything to both logs, the file through two handles in turns."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.retention = Retention(Limits(3, 30.0))
        made = {"retention": self.retention, "clock": self.clock}
        self.files = self.handles(made)
        self.memory = MemoryLog.from_url("memory://", options={}, **made)
        self.turn = 0

    def handles(self, made):
        url = f"sqlite:///{self.folder}/line.db"
        return [SQLiteLog.from_url(url, options={}, **made) for _ in range(2)]

    @initialize()
    def open(self):
        for log in (self.memory, *self.files):
            self.loop.run_until_complete(log.open())

    def teardown(self):
        for log in (self.memory, *self.files):
            self.loop.run_until_complete(log.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def both(self, do):
        self.turn += 1
        file = self.files[self.turn % 2]
        return (
            self.loop.run_until_complete(do(self.memory)),
            self.loop.run_until_complete(do(file)),
        )

    @rule(groups=st.lists(st.lists(drafts(), max_size=3), max_size=3))
    def append(self, groups):
        self.append_to_both(groups)

    @rule(groups=st.lists(st.lists(drafts(), min_size=1, max_size=2), min_size=3, max_size=6))
    def append_many(self, groups):
        self.append_to_both(groups)

    def append_to_both(self, groups):
        versions = dict(self.loop.run_until_complete(self.memory.last_ids(KEYS)).ids)
        groups = [[self.versioned(draft, versions) for draft in group] for group in groups]
        expected, found = self.both(lambda log: log.append(groups))
        assert list(map(told, found)) == list(map(told, expected))

    def versioned(self, draft, versions):
        """Put in the version that the channel has if all drafts before this one are stored."""
        version = versions[draft.channel]
        versions[draft.channel] += 1
        if draft.expected_version != RIGHT:
            return draft
        return msgspec.structs.replace(draft, expected_version=version)

    @rule(key=st.sampled_from(KEYS), upto=st.integers(0, 12))
    def trim(self, key, upto):
        async def trim(log):
            try:
                return await log.trim(key, upto)
            except TrunklineError as error:
                return type(error)

        expected, found = self.both(trim)
        assert found == expected

    @rule(seconds=st.sampled_from([0.5, 0.5, 4.0, 4.0, 31.0, 90000.0]))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3.0, 3.0]))
    def set_the_clock(self, seconds):
        self.clock.step(seconds)

    @rule()
    def sweep(self):
        expected, found = self.both(lambda log: log.sweep())
        assert found == expected

    @rule(cap=st.none() | st.integers(5, 20))
    def cap_the_line(self, cap):
        self.retention.max_line_size = cap

    @rule(
        pattern=st.sampled_from(["/a", "/b/*"]),
        limits=st.none()
        | st.builds(Limits, sizes, ages, st.none() | st.just(20.0), st.integers(1, 3)),
    )
    def set_limits(self, pattern, limits):
        self.retention.set(pattern, limits)

    @rule(really=st.sampled_from([False] * 9 + [True]))
    def reset(self, really):
        if not really:
            return
        expected, found = self.both(lambda log: log.reset())
        assert expected != found

    @rule(key=st.sampled_from(KEYS), after=st.integers(0, 12), limit=st.integers(1, 5))
    def read(self, key, after, limit):
        expected, found = self.both(lambda log: log.read(key, after, limit))
        assert list(found.records) == list(expected.records)
        assert (found.floor, found.head, found.upto) == (
            expected.floor,
            expected.head,
            expected.upto,
        )

    @rule(after=st.integers(0, 40), limit=st.integers(1, 5), interest=interests)
    def read_all(self, after, limit, interest):
        async def whole(log):
            position, records, floors = after, [], set()
            while True:
                page = await log.read_all(position, limit, interest)
                records += page.records
                floors.add((page.floor, page.head))
                if page.upto >= page.head:
                    return records, floors
                assert page.upto > position
                position = page.upto

        expected, found = self.both(whole)
        assert found == expected

    @invariant()
    def channels_are_the_same(self):
        async def states(log):
            return list(await log.channels()), await log.last_ids(KEYS)

        (expected, heads), (found, found_heads) = self.both(states)
        assert found == expected
        assert (found_heads.ids, found_heads.head) == (heads.ids, heads.head)


SQLiteAgainstMemory.TestCase.settings = settings(
    max_examples=min(60, settings().max_examples), stateful_step_count=40
)
TestSQLiteAgainstMemory = SQLiteAgainstMemory.TestCase
