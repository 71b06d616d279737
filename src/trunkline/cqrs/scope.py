"""What one command has in hand inside its transaction: states it loaded, events it decided.

A state is what is stored, plus what others of the same commit decided before, plus what this
command itself has decided so far. What a savepoint undid is gone from the unit's drafts, and so
from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from trunkline.cqrs.aggregate import Aggregate
from trunkline.cqrs.catalog import Catalog
from trunkline.cqrs.command import Recorded
from trunkline.cqrs.query import Query
from trunkline.cqrs.state_cache import Loaded, StateCache
from trunkline.log.joint import JointTransaction, Stretch, Tip
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Draft
from trunkline.store.command_table import CommandTable, Snapshot, TagQuery
from trunkline.store.unit import UnitOfWork


class Staged(NamedTuple):
    """Be an event that will be appended, and its place among the unit's drafts."""

    place: int
    draft: Draft
    recorded: Recorded[Any]


Target = tuple[ChannelKey, Aggregate[Any]]


class Stores(NamedTuple):
    """Be what scopes share.

    Args:
        catalog: Decodes events.
        cache: Remembers states.
        table: Keeps snapshots and tags.
    """

    catalog: Catalog
    cache: StateCache
    table: CommandTable


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
        self._epoch = stores.cache.epoch
        #: What was read of streams, before anything of this commit.
        self.tips: dict[ChannelKey, Tip] = {}
        #: States from which those are read on: remembered ones and snapshots.
        self._starts: dict[ChannelKey, Loaded] = {}
        #: The epochs of the snapshots among them.
        self._ages: dict[ChannelKey, str] = {}
        #: The line's epoch that streams were read in; empty while none of them had any event.
        self.epoch = ""
        #: Events decided in this commit by commands that are done.
        self.layers: dict[ChannelKey, list[Any]] = {}
        self.tagged: list[Staged] = []
        #: Stored states by stream, before anything of this commit.
        self.bases: dict[ChannelKey, tuple[Aggregate[Any] | None, Loaded]] = {}

    async def prefetch(
        self,
        transaction: JointTransaction,
        wanted: Iterable[tuple[ChannelKey, Aggregate[Any] | None]],
    ) -> None:
        """Read the ends of several streams at once."""
        targets = {channel: aggregate for channel, aggregate in wanted if channel not in self.tips}
        unknown = []
        for channel, aggregate in targets.items():
            known = self.stores.cache.get(channel)
            if known is not None:
                self._starts[channel] = known
            elif aggregate is not None and aggregate.snapshot_every:
                unknown.append((channel, aggregate))
        if unknown:
            await self._find_snapshots(transaction, unknown)
        stretches = [
            Stretch(channel, start.version if (start := self._starts.get(channel)) else 0)
            for channel in targets
        ]
        tips = await self._tips(transaction, stretches)
        for stretch, tip in zip(stretches, tips, strict=True):
            self.tips[stretch.channel] = tip

    async def _find_snapshots(
        self, transaction: JointTransaction, unknown: Sequence[Target]
    ) -> None:
        by_name = {(key.site_id or "", key.name): (key, one) for key, one in unknown}
        for found in await self.stores.table.snapshots(transaction, list(by_name)):
            channel, aggregate = by_name[found.site_id, found.stream]
            restored = aggregate.restored(found.format, found.state)
            if restored is not None:
                self._ages[channel], state = restored
                self._starts[channel] = Loaded(found.version, state)

    async def tip(
        self, transaction: JointTransaction, channel: ChannelKey, aggregate: Aggregate[Any] | None
    ) -> Tip:
        """Return the end of a stream, read once."""
        tip = self.tips.get(channel)
        if tip is not None:
            return tip
        known = self.stores.cache.get(channel)
        if known is None and aggregate is not None and aggregate.snapshot_every:
            await self.prefetch(transaction, ((channel, aggregate),))
            return self.tips[channel]
        after = 0
        if known is not None:
            self._starts[channel] = known
            after = known.version
        tips = await self._tips(transaction, (Stretch(channel, after),))
        tip = self.tips[channel] = tips[0]
        return tip

    async def _tips(
        self, transaction: JointTransaction, wanted: Sequence[Stretch]
    ) -> Sequence[Tip]:
        """Read the ends of streams; whole where what is remembered or kept is of another epoch."""
        tips = await transaction.tips(wanted)
        epoch = next((tip.epoch for tip in tips if tip.epoch), "")
        self.epoch = epoch or self.epoch
        is_other = self.stores.cache.adopt(epoch)
        if not is_other and not self._ages:
            return tips
        stale = {
            one.channel for one in wanted if is_other or self._ages.get(one.channel, epoch) != epoch
        }
        if not stale:
            return tips
        for channel in stale:
            self._starts.pop(channel, None)
        return await transaction.tips(
            [Stretch(one.channel) if one.channel in stale else one for one in wanted]
        )

    async def base(
        self, transaction: JointTransaction, channel: ChannelKey, aggregate: Aggregate[Any]
    ) -> Loaded:
        """Return an aggregate's stored state."""
        known = self.bases.get(channel)
        if known is not None and known[0] is not None and aggregate.is_immutable:
            return known[1]
        tip = await self.tip(transaction, channel, aggregate)
        start, after = self._starts.get(channel), tip.last_id - len(tip.records)
        if start is not None and start.version == tip.last_id and aggregate.is_immutable:
            self.bases[channel] = (aggregate, start)
            return start
        state = None
        if after and (start is None or start.version != after):
            # The stream is shorter than remembered, as after a restored backup: read it whole.
            self.stores.cache.forget(channel)
            tip = self.tips[channel] = (await transaction.tips((Stretch(channel),)))[0]
        elif after and start is not None:
            state = start.state
        recorded = self.stores.catalog.recorded
        events = [recorded(record).event for record in tip.records]
        base = Loaded(tip.last_id, aggregate.fold(state, events))
        self.bases[channel] = (aggregate, base)
        return base

    def add(self, staged: Iterable[Staged]) -> None:
        """Take over what a command decided that is done."""
        for one in staged:
            self.layers.setdefault(one.draft.channel, []).append(one.recorded.event)
            if one.recorded.headers.tags:
                self.tagged.append(one)

    def settle(self) -> None:
        """Remember the states that were committed."""
        cache = self.stores.cache
        if self._epoch not in ("", cache.epoch):
            return  # the line began anew meanwhile: some may be from before
        for channel, (aggregate, base) in self.bases.items():
            if aggregate is None or not aggregate.is_immutable:
                continue
            events = self.layers.get(channel)
            if events:
                state = aggregate.fold(base.state, events)
                cache.put(channel, Loaded(base.version + len(events), state))
            else:
                cache.put(channel, base)

    def give_up(self) -> None:
        """Remember the states that were read: those were committed by others."""
        self.layers.clear()
        self.settle()


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
        #: What must still be true at the end: tenant, query, after which global id.
        self.conditions: list[tuple[str | None, TagQuery, int]] = []
        self._staged: list[Staged] = []
        self._counts: dict[ChannelKey, int] = {}

    # -- reading ------------------------------------------------------------------------------

    async def load(self, channel: ChannelKey, aggregate: Aggregate[Any]) -> Loaded:
        """Return an aggregate's state with all that is decided so far."""
        base = await self._base(channel, aggregate)
        layer = self.commit.layers.get(channel, ())
        if not layer and not self._staged:
            return base
        own = [one.recorded.event for one in self.staged if one.draft.channel == channel]
        state = aggregate.fold(aggregate.fold(base.state, layer), own)
        return Loaded(base.version + len(layer) + len(own), state)

    async def _base(self, channel: ChannelKey, aggregate: Aggregate[Any]) -> Loaded:
        commit = self.commit
        if commit.trusts_cache and channel not in commit.bases and channel not in commit.tips:
            cached = commit.stores.cache.get(channel)
            if cached is not None:
                self.has_guessed = True
                commit.bases[channel] = (aggregate, cached)
                return cached
        return await commit.base(self.transaction, channel, aggregate)

    async def version(self, channel: ChannelKey) -> int:
        """Return the version that the next event of a stream is appended to."""
        known = self.commit.bases.get(channel)
        if known is None:
            tip = await self.commit.tip(self.transaction, channel, None)
            known = self.commit.bases[channel] = (None, Loaded(tip.last_id, None))
        return known[1].version + len(self.commit.layers.get(channel, ())) + self.count(channel)

    def count(self, channel: ChannelKey) -> int:
        """Return how many events in hand go to a stream."""
        _ = self.staged
        return self._counts.get(channel, 0)

    async def find(
        self, query: Query, aggregate: Aggregate[Any] | None, site_id: str | None
    ) -> Any:
        """Return the state that the events of a query make, and hold the command to them."""
        table, found = self.commit.stores.table, set[int]()
        for item in query.items:
            ids = await table.tagged(self.transaction, site_id, item, 0)
            self.conditions.append((site_id, item, max(ids, default=0)))
            found.update(ids)
        records = await self.transaction.pick(sorted(found)) if found else ()
        recorded = self.commit.stores.catalog.recorded
        events = [recorded(record).event for record in records]
        events += [
            one.recorded.event
            for one in (*self.commit.tagged, *self.staged)
            if one.draft.channel.site_id == site_id and query.finds(one.recorded.headers)
        ]
        return None if aggregate is None else aggregate.fold(None, events)

    @property
    def has_marks(self) -> bool:
        """Tell whether something is to be checked or written once the events have their ids."""
        return bool(self.conditions) or any(one.recorded.headers.tags for one in self.staged)

    # -- writing ------------------------------------------------------------------------------

    def stage(self, events: Sequence[tuple[Recorded[Any], Draft]]) -> None:
        """Have events of one stream appended at the end."""
        staged, first = self.staged, len(self.unit.drafts)
        channel = events[0][1].channel
        self._counts[channel] = self._counts.get(channel, 0) + len(events)
        staged += [
            Staged(place, draft, recorded) for place, (recorded, draft) in enumerate(events, first)
        ]
        self.unit.stage([draft for _, draft in events])

    @property
    def staged(self) -> list[Staged]:
        """Return the events in hand that no savepoint undid, in order."""
        drafts, staged = self.unit.drafts, self._staged
        while staged:
            last = staged[-1]
            if last.place < len(drafts) and drafts[last.place] is last.draft:
                break
            staged.pop()
            self._counts[last.draft.channel] -= 1
        return staged

    async def _epoch(self) -> str:
        """Return the epoch that states are of; a stream without events did not tell it."""
        commit = self.commit
        if not commit.epoch:
            commit.epoch = commit.stores.cache.epoch or await self.transaction.epoch()
        return commit.epoch

    async def save_snapshots(self) -> None:
        """Keep the states whose streams grew over a multiple of their snapshots' distance."""
        if not any(one is not None and one.snapshot_every for one, _ in self.commit.bases.values()):
            return
        for channel in dict.fromkeys(one.draft.channel for one in self.staged):
            aggregate, base = self.commit.bases.get(channel, (None, Loaded(0, None)))
            if aggregate is None or not aggregate.snapshot_every:
                continue
            now = await self.load(channel, aggregate)
            if now.version // aggregate.snapshot_every > base.version // aggregate.snapshot_every:
                snapshot = Snapshot(
                    channel.site_id or "",
                    channel.name,
                    now.version,
                    aggregate.snapshot_version,
                    aggregate.stored(await self._epoch(), now.state),
                )
                await self.commit.stores.table.save_snapshot(self.unit, snapshot)
