"""What one command has in hand inside its transaction: states it loaded, events it decided.

A state is what is stored, plus what others of the same commit decided before, plus what this
command itself has decided so far. What a savepoint undid is gone from the unit's drafts, and so
from here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from trunkline.cqrs.aggregate import Aggregate
from trunkline.cqrs.catalog import Catalog
from trunkline.cqrs.command import Recorded
from trunkline.log.joint import JointTransaction, Stretch, Tip
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft
from trunkline.store.unit import UnitOfWork

#: States remembered by a process.
CACHED = 10_000


class Loaded(NamedTuple):
    """Be a state at a version."""

    version: int
    state: Any


class Staged(NamedTuple):
    """Be an event that will be appended, and its place among the unit's drafts."""

    index: int
    draft: Draft
    recorded: Recorded[Any]


class StateCache:
    """Remember committed states, the latest used ones.

    Args:
        size: How many.
    """

    def __init__(self, size: int = CACHED) -> None:
        self._size = size
        self._states: OrderedDict[ChannelKey, Loaded] = OrderedDict()

    def get(self, channel: ChannelKey) -> Loaded | None:
        """Return what is remembered of a stream; it may be out of date."""
        found = self._states.get(channel)
        if found is not None:
            self._states.move_to_end(channel)
        return found

    def put(self, channel: ChannelKey, loaded: Loaded) -> None:
        """Remember a committed state, unless a later one is known."""
        known = self._states.get(channel)
        if known is not None and known.version > loaded.version:
            return
        self._states[channel] = loaded
        self._states.move_to_end(channel)
        if len(self._states) > self._size:
            self._states.popitem(last=False)

    def forget(self, channel: ChannelKey) -> None:
        """Forget a stream, for what is remembered proved wrong."""
        self._states.pop(channel, None)

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()


class Stores(NamedTuple):
    """Be what scopes share.

    Args:
        catalog: Decodes events.
        cache: Remembers states.
    """

    catalog: Catalog
    cache: StateCache


class Commit:
    """Be what the commands of one commit know of each other.

    Args:
        stores: What all scopes share.
        trusts_cache: Whether a remembered state may be decided on without a look at the stored
            one; a wrong guess then shows as a conflict.
    """

    def __init__(self, stores: Stores, *, trusts_cache: bool = False) -> None:
        self.stores = stores
        self.trusts_cache = trusts_cache
        #: What was read of streams, before anything of this commit.
        self.tips: dict[ChannelKey, Tip] = {}
        #: Events decided in this commit by commands that are done.
        self.layers: dict[ChannelKey, list[Any]] = {}
        #: Stored states by stream, before anything of this commit.
        self.bases: dict[ChannelKey, tuple[Aggregate[Any] | None, Loaded]] = {}

    async def prefetch(self, transaction: JointTransaction, wanted: Iterable[ChannelKey]) -> None:
        """Read the ends of several streams at once."""
        stretches = [self._stretch(channel) for channel in dict.fromkeys(wanted)]
        tips = await transaction.tips(stretches)
        for stretch, tip in zip(stretches, tips, strict=True):
            self.tips[stretch.channel] = tip

    def _stretch(self, channel: ChannelKey) -> Stretch:
        known = self.stores.cache.get(channel)
        return Stretch(channel, known.version if known else 0)

    def add(self, staged: Iterable[Staged]) -> None:
        """Take over what a command decided that is done."""
        for one in staged:
            self.layers.setdefault(one.draft.channel, []).append(one.recorded.event)

    def settle(self) -> None:
        """Remember the states that were committed."""
        cache = self.stores.cache
        for channel, (aggregate, base) in self.bases.items():
            if aggregate is None or not aggregate.is_immutable:
                continue
            events = self.layers.get(channel, ())
            if events:
                state = aggregate.fold(base.state, events)
                cache.put(channel, Loaded(base.version + len(events), state))
            else:
                cache.put(channel, base)

    def forget(self) -> None:
        """Distrust what was remembered of the streams in hand."""
        for channel in (*self.bases, *self.tips):
            self.stores.cache.forget(channel)


class Scope:
    """Be what one command has in hand.

    Args:
        unit: Its unit of work.
        transaction: The transaction underneath.
        commit: What is shared with others of the same commit.
    """

    def __init__(self, unit: UnitOfWork, transaction: JointTransaction, commit: Commit) -> None:
        self.unit = unit
        self.transaction = transaction
        self.commit = commit
        #: Whether some state came from the cache without a look at the stored one.
        self.has_guessed = False
        self._staged: list[Staged] = []

    # -- reading ------------------------------------------------------------------------------

    async def load(self, channel: ChannelKey, aggregate: Aggregate[Any]) -> Loaded:
        """Return an aggregate's state with all that is decided so far."""
        base = await self._base(channel, aggregate)
        layer = self.commit.layers.get(channel, ())
        own = [one.recorded.event for one in self.staged if one.draft.channel == channel]
        if not layer and not own:
            return base
        state = aggregate.fold(aggregate.fold(base.state, layer), own)
        return Loaded(base.version + len(layer) + len(own), state)

    async def version(self, channel: ChannelKey) -> int:
        """Return the version that the next event of a stream is appended to."""
        known = self.commit.bases.get(channel)
        if known is None:
            version = (await self._tip(channel)).last_id
            known = self.commit.bases[channel] = (None, Loaded(version, None))
        own = sum(one.draft.channel == channel for one in self.staged)
        return known[1].version + len(self.commit.layers.get(channel, ())) + own

    async def _base(self, channel: ChannelKey, aggregate: Aggregate[Any]) -> Loaded:
        known = self.commit.bases.get(channel)
        if known is not None and known[0] is not None and aggregate.is_immutable:
            return known[1]
        cached = self.commit.stores.cache.get(channel)
        if cached is not None and self.commit.trusts_cache and channel not in self.commit.tips:
            self.has_guessed = True
            base = cached
        else:
            base = await self._read(channel, aggregate, cached)
        self.commit.bases[channel] = (aggregate, base)
        return base

    async def _read(
        self, channel: ChannelKey, aggregate: Aggregate[Any], cached: Loaded | None
    ) -> Loaded:
        tip = await self._tip(channel)
        after = tip.last_id - len(tip.records)
        state = None
        if after:
            if cached is None or cached.version != after:
                # What was remembered when the tip was asked for is gone: read it whole.
                tip = (await self.transaction.tips((Stretch(channel),)))[0]
            else:
                state = cached.state
        recorded = self.commit.stores.catalog.recorded
        events = [recorded(record).event for record in tip.records]
        return Loaded(tip.last_id, aggregate.fold(state, events))

    async def _tip(self, channel: ChannelKey) -> Tip:
        tip = self.commit.tips.get(channel)
        if tip is None:
            await self.commit.prefetch(self.transaction, (channel,))
            tip = self.commit.tips[channel]
        return tip

    # -- writing ------------------------------------------------------------------------------

    def stage(self, recorded: Recorded[Any], draft: Draft) -> None:
        """Have an event appended at the end."""
        _ = self.staged
        self._staged.append(Staged(len(self.unit.drafts), draft, recorded))
        self.unit.stage((draft,))

    @property
    def staged(self) -> list[Staged]:
        """Return the events in hand that no savepoint undid, in order."""
        drafts, staged = self.unit.drafts, self._staged
        while staged:
            last = staged[-1]
            if last.index < len(drafts) and drafts[last.index] is last.draft:
                break
            staged.pop()
        return staged

    def states(self) -> Mapping[ChannelKey, Loaded]:
        """Return the stored states in hand, for snapshots."""
        return {channel: base for channel, (_, base) in self.commit.bases.items()}
