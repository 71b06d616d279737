"""The consumers of a line as operators see them: where they stand, and what to do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from trunkline.channels.catchup import arrive
from trunkline.channels.consumer import start_of
from trunkline.channels.consumer_retrying import ProcessEndedError
from trunkline.channels.consumer_roster import Roster, begin
from trunkline.errors import UsageError
from trunkline.model.interest import Interest
from trunkline.model.message import Limits
from trunkline.model.position import Position
from trunkline.store.consumer_table import (
    ConsumerTable,
    Definition,
    MetGap,
    Session,
    Standing,
    Status,
)
from trunkline.store.parked_table import ParkedMessage, ParkedTable

#: Seconds between two looks of somebody who waits.
LOOK = 0.01
#: Messages that a lag counts at most.
COUNTED = 10_000
#: Parked messages that one transaction handles.
CHUNK = 500

SortOut = Callable[[Session, str, int], Awaitable[bool]]


class ConsumerState(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a consumer for operators.

    Args:
        name: Its name.
        status: ``running``, ``paused`` or ``stopped``.
        reason: Why it doesn't run.
        position: The last message that it is done with.
        behind: Global ids between that and the end of the line, wanted or not.
        parked: Messages set aside, those that wait behind others too.
        holder: The process that runs it, or an empty text.
        moved_at: When its checkpoint last moved, Unix seconds.
        channels: Names and patterns.
        keep: Up to which limits trimming waits for it.
    """

    name: str
    status: Status
    reason: str
    position: Position
    behind: int
    parked: int
    holder: str
    moved_at: float
    channels: tuple[str, ...]
    keep: Limits | None


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """Say how far a consumer is behind.

    Args:
        messages: Messages that it has yet to handle, parked ones left out.
        is_more: Whether there are more than were counted.
        seconds: Age of the oldest of them, 0 if there is none.
        is_broken: Whether messages before them are gone.
    """

    messages: int
    is_more: bool
    seconds: float
    is_broken: bool


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Say whether a consumer is done with something.

    Args:
        is_done: Whether it handled all of it.
        failure: Why it won't without somebody's help, or an empty text.
        attempts: How often one that is set aside was tried.
        error: What that raised last.
    """

    is_done: bool
    failure: str = ""
    attempts: int = 0
    error: str = ""


class Consumers:
    """Look after all consumers that the store knows, wherever they run.

    Args:
        roster: Those of this process.
        ready: Opens the line if need be.
    """

    def __init__(self, roster: Roster, ready: Callable[[], Awaitable[None]]) -> None:
        self._roster = roster
        self._ready = ready

    def _table(self) -> ConsumerTable:
        return ConsumerTable(self._roster.database)

    def _parked(self) -> ParkedTable:
        return ParkedTable(self._roster.database)

    async def list(self) -> list[ConsumerState]:
        """Describe all consumers that ever ran, by name."""
        await self._ready()
        table, head = self._table(), (await self._roster.place.log.last_ids(())).head
        return [
            await self._state(table, one, standing, head)
            for one in await table.definitions()
            if (standing := await table.standing(one.name)) is not None
        ]

    async def show(self, name: str) -> ConsumerState:
        """Describe a consumer.

        Raises:
            UsageError: There is none of this name.
        """
        definition, standing = await self._find(name)
        head = (await self._roster.place.log.last_ids(())).head
        return await self._state(self._table(), definition, standing, head)

    async def gaps(self, name: str) -> Sequence[MetGap]:
        """Return the gaps that a consumer met, newest first."""
        await self._find(name)
        return await self._table().gaps(name)

    async def lag(self, name: str) -> Lag:
        """Say how far a consumer is behind, counting up to 10,000 messages.

        Raises:
            UsageError: There is none of this name.
        """
        definition, standing = await self._find(name)
        position, count, oldest, is_broken = standing.position, 0, 0.0, False
        while True:
            page = await self._roster.place.log.read_all(
                position.global_id, interest=definition.interest
            )
            arrival = arrive(position, page, told=standing.told)
            is_broken = is_broken or arrival.gap is not None
            if arrival.records and not oldest:
                oldest = arrival.records[0].published_at
            count, position = count + len(arrival.records), arrival.position
            if arrival.is_at_end or count >= COUNTED:
                break
        seconds = max(0.0, self._roster.place.clock.now() - oldest) if oldest else 0.0
        return Lag(
            messages=min(count, COUNTED),
            is_more=not arrival.is_at_end,
            seconds=seconds,
            is_broken=is_broken,
        )

    async def caught_up(self, name: str) -> None:
        """Wait until a consumer is done with all that was published before the call.

        What is parked counts as done. Bound the waiting with ``asyncio.timeout``: whether the
        consumer runs anywhere is not known.

        Args:
            name: Which; it may yet have to run for the first time.

        Raises:
            UsageError: It is paused or stopped, and not done.
        """
        await self._ready()
        heads = await self._roster.place.log.last_ids(())
        before: Standing | None = None
        while True:
            standing = await self._table().standing(name)
            if standing is not None:
                position = standing.position
                if position.epoch == heads.epoch and position.global_id >= heads.head:
                    return
                # While it moves, counting what it has yet to do would only slow it down.
                if standing == before and not (await self.lag(name)).messages:
                    return
                if standing.status is not Status.RUNNING:
                    raise UsageError(f"{name!r} is {standing.status}: {standing.reason}")
            before = standing
            await asyncio.sleep(LOOK)

    async def reach(self, name: str, epoch: str, positions: Sequence[int]) -> Reach:
        """Say whether a consumer is done with some messages; cheap enough to ask often.

        Args:
            name: Which; it may yet have to run for the first time.
            epoch: The line's.
            positions: Their global ids, ascending.
        """
        standing = await self._table().standing(name)
        if standing is None:
            return Reach(is_done=False)
        position = standing.position
        if position.epoch == epoch and position.global_id >= positions[-1]:
            aside = await self._parked().aside(name, epoch, positions)
            if aside is None:
                return Reach(is_done=True)
            is_at_it = aside.error.startswith(ProcessEndedError.__name__)
            failure = aside.error if aside.is_final and not is_at_it else ""
            return Reach(is_done=False, failure=failure, attempts=aside.attempts, error=aside.error)
        is_running = standing.status is Status.RUNNING
        obstacle = "" if is_running else f"it is {standing.status}: {standing.reason}"
        return Reach(is_done=False, failure=obstacle)

    async def pause(self, name: str, reason: str = "an operator paused it") -> None:
        """Have a consumer wait; a page under way is finished.

        Args:
            name: Which.
            reason: Shown to whoever looks.

        Raises:
            UsageError: There is none of this name.
        """
        await self._set_status(name, Status.PAUSED, reason)

    async def resume(self, name: str) -> None:
        """Have a paused or stopped consumer go on; behind a gap, with what is still kept.

        Raises:
            UsageError: There is none of this name.
        """
        await self._set_status(name, Status.RUNNING, "")

    async def seek(self, name: str, to: Position | str) -> Position:
        """Have a consumer go on elsewhere; a stopped one goes on, a paused one stays paused.

        What is parked stays parked.

        Args:
            name: Which.
            to: ``oldest`` for all that is kept, ``now``, or a position.

        Returns:
            Where it stands.

        Raises:
            UsageError: There is none of this name, or the line has no such position.
            ConflictError: Somebody else decided meanwhile.
        """
        definition, standing = await self._find(name)
        place = self._roster.place
        begun = await begin(place.log, start_of(to), definition.interest, place.clock)
        is_paused = standing.status is Status.PAUSED
        new = msgspec.structs.replace(
            standing,
            position=begun.position,
            told=begun.told,
            status=Status.PAUSED if is_paused else Status.RUNNING,
            reason=standing.reason if is_paused else "",
        )
        await self._table().decide(name, new)
        self._roster.poke(name)
        return begun.position

    async def replay(self, name: str) -> Position:
        """Have a consumer handle everything again that is kept."""
        return await self.seek(name, "oldest")

    async def parked(
        self, name: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[ParkedMessage]:
        """Return a consumer's parked messages, and those that wait behind them, in order.

        Args:
            name: Which.
            after: Begin after this number.
            limit: Messages at most.

        Raises:
            UsageError: There is none of this name.
        """
        await self._find(name)
        return await self._parked().listing(name, after=after, limit=limit)

    async def retry(self, name: str, *seqs: int) -> int:
        """Have parked messages tried again at once; those behind them follow.

        Args:
            name: Which consumer.
            *seqs: Numbers of messages; all that are first of their key without any.

        Returns:
            How many are tried.

        Raises:
            UsageError: There is none of this name.
        """
        return await self._sort_out(name, seqs, self._parked().retry)

    async def skip(self, name: str, *seqs: int) -> int:
        """Remove parked messages unhandled; those behind them follow.

        Args:
            name: Which consumer.
            *seqs: Numbers of messages; all that failed without any.

        Returns:
            How many are gone.

        Raises:
            UsageError: There is none of this name.
        """
        return await self._sort_out(name, seqs, self._parked().skip)

    async def forget(self, name: str) -> None:
        """Remove a consumer that is no longer declared, with its checkpoint and parked messages.

        Raises:
            UsageError: There is none of this name.
        """
        await self._find(name)
        await self._table().forget(name)
        if name not in {one.name for one in self._roster.declared}:
            self._roster.place.retention.hold(name, Interest(), None)
        self._roster.poke(name)

    async def _find(self, name: str) -> tuple[Definition, Standing]:
        await self._ready()
        table = self._table()
        standing = await table.standing(name)
        for one in await table.definitions():
            if one.name == name and standing is not None:
                return one, standing
        known = ", ".join(one.name for one in await table.definitions())
        raise UsageError(f"no consumer {name!r} ever ran on this store; there is {known or 'none'}")

    async def _state(
        self, table: ConsumerTable, one: Definition, standing: Standing, head: int
    ) -> ConsumerState:
        interest = one.interest
        names = (*map(str, interest.keys), *(pattern.text for pattern in interest.patterns))
        return ConsumerState(
            name=one.name,
            status=standing.status,
            reason=standing.reason,
            position=standing.position,
            behind=max(0, head - standing.position.global_id),
            parked=await self._parked().count(one.name),
            holder=await table.holder(f"consumer:{one.name}"),
            moved_at=standing.moved_at,
            channels=tuple(sorted(names)),
            keep=one.keep,
        )

    async def _set_status(self, name: str, status: Status, reason: str) -> None:
        await self._find(name)
        table = self._table()
        async with table.database.transaction() as tx:
            await table.set_status(tx, name, status, reason)
        self._roster.poke(name)

    async def _sort_out(self, name: str, seqs: Sequence[int], act: SortOut) -> int:
        await self._find(name)
        chosen = seqs or await self._failed(name)
        table, count = self._table(), 0
        for first in range(0, len(chosen), CHUNK):
            async with table.database.transaction() as tx:
                for seq in chosen[first : first + CHUNK]:
                    count += await act(tx, name, seq)
                await table.nudge(tx, name)
        self._roster.poke(name)
        return count

    async def _failed(self, name: str) -> Sequence[int]:
        found: Sequence[int] = ()
        page = await self._parked().listing(name)
        while page:
            found = (*found, *(one.seq for one in page if one.attempts))
            page = await self._parked().listing(name, after=page[-1].seq)
        return found
