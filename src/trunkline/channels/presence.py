"""Presence: who is on a channel, over all processes, exact within a lease after a crash."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property

import msgspec

from trunkline.channels.drafting import PublishOptions, draft_of
from trunkline.channels.presence_state import (
    LEASE,
    Ask,
    Beat,
    Bye,
    Change,
    Moves,
    Place,
    PresenceState,
    Word,
    decoder,
    rosters,
)
from trunkline.channels.subscription import Start, Subscription
from trunkline.channels.wing import Premises, WingedBus
from trunkline.errors import GapError, LogError, TrunklineError
from trunkline.model.channel import ChannelKey, channel_key
from trunkline.model.identity import Id
from trunkline.model.interest import Interest
from trunkline.runtime.clock import jitter
from trunkline.runtime.loops import Backoff
from trunkline.runtime.service import Service

logger = logging.getLogger("trunkline.channels")

CHANNEL = ChannelKey("/__trunkline/presence")
#: How many signs of life fit into a lease, and how many looks for processes that fell silent.
BEATS = 4
LOOKS = 13
#: Seconds that others have to tell who is with them, before what is known is taken for all.
SETTLE = 0.5
#: Seconds in which moves are gathered into one message.
GATHER = 0.02
KEPT = 1000

Hear = Callable[[Change], None]


class Presences:
    """Tell the other processes who is here, and know who is there.

    Args:
        premises: What it works with.
        lease: Gives the seconds of silence after which a process counts as dead.
    """

    def __init__(self, premises: Premises, lease: Callable[[], float] = lambda: LEASE) -> None:
        self._premises = premises
        self._lease = lease
        self._process = secrets.token_hex(8)
        self._state = PresenceState()
        self._own: dict[Place, int] = {}
        self._moves: dict[Place, bool] = {}
        self._hearers: dict[ChannelKey, list[Hear]] = defaultdict(list)
        self._settled = asyncio.Event()
        self._moved = asyncio.Event()
        self._is_open = False

    # -- living with the line -----------------------------------------------------------------

    async def open(self) -> None:
        """Listen to the other processes, and tell them who is here."""
        self._moved = asyncio.Event()
        self._settled = asyncio.Event()
        self._is_open = True
        if self._moves:  # they came before the line was open
            self._moved.set()
        self._premises.run("presence", self._listen)
        self._premises.run("presence moves", self._tell)
        self._premises.run("presence beats", self._beat)
        self._premises.run("presence leases", self._expire)

    async def close(self) -> None:
        """Tell the others that all here leave."""
        if self._is_open and (self._own or self._moves):
            try:
                await self._say(Bye(self._process))
            except TrunklineError as error:
                logger.warning("could not say that all leave: %s", error)
        self._is_open = False
        self._own.clear()
        self._moves.clear()
        self._state = PresenceState()

    def services(self) -> Sequence[Service]:
        """Return none: every process speaks for itself."""
        return ()

    # -- those here ---------------------------------------------------------------------------

    def enter(self, place: Place) -> None:
        """Note a client that came to this process; the others hear of it soon."""
        count = self._own.get(place, 0)
        self._own[place] = count + 1
        if not count:
            self._move(place, is_here=True)

    def leave(self, place: Place) -> None:
        """Note a client that left this process."""
        count = self._own.pop(place, 0)
        if count > 1:
            self._own[place] = count - 1
        elif count:
            self._move(place, is_here=False)

    def _move(self, place: Place, *, is_here: bool) -> None:
        if self._moves.get(place, is_here) != is_here:
            del self._moves[place]  # came and went before anybody was told
        else:
            self._moves[place] = is_here
        self._moved.set()

    # -- those there --------------------------------------------------------------------------

    async def be_ready(self) -> None:
        """Have the line open, and listen."""
        await self._premises.bus.be_ready()

    async def members(self, key: ChannelKey) -> list[Place]:
        """Return who is on a channel, in the order they came."""
        await self._premises.bus.be_ready()
        if self._is_open:
            await self._settled.wait()
        return self._state.members(key)

    def known(self, key: ChannelKey) -> list[Place]:
        """Return who is on a channel as far as this process knows now."""
        return self._state.members(key)

    def hear(self, key: ChannelKey, hear: Hear) -> Callable[[], None]:
        """Have a function called with what changes on a channel.

        Returns:
            What ends it.
        """
        self._hearers[key].append(hear)

        def end() -> None:
            hearers = self._hearers.get(key, [])
            if hear in hearers:
                hearers.remove(hear)
            if not hearers:
                self._hearers.pop(key, None)

        return end

    def _report(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for hear in tuple(self._hearers.get(change.key, ())):
                hear(change)

    # -- between processes --------------------------------------------------------------------

    async def _say(self, *words: Word) -> None:
        """Publish words, all or none in one commit: no move comes between a roster's parts."""
        options: PublishOptions = {"max_backlog_size": KEPT}
        drafts = [
            draft_of(CHANNEL.name, msgspec.to_builtins(one), options, site_id=None, internal=True)
            for one in words
        ]
        outcome = (await self._premises.log.append((drafts,)))[0]
        if isinstance(outcome, TrunklineError):
            raise outcome

    async def _listen(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._follow(backoff)
            except GapError:
                continue  # ask anew
            except LogError as error:
                logger.warning("presence cannot read the log, trying again: %s", error)
                await asyncio.sleep(backoff.next_delay())
            else:
                return

    async def _follow(self, backoff: Backoff) -> None:
        premises = self._premises
        interest = Interest(frozenset({CHANNEL}))
        subscription = Subscription(premises.log, premises.hub, interest, start=Start())
        async with subscription:
            await self._say(Ask(self._process))
            settle = asyncio.get_running_loop().call_later(SETTLE, self._settled.set)
            try:
                async for message in subscription:
                    backoff.succeed()
                    await self._take(message.data)
            finally:
                settle.cancel()

    async def _take(self, data: object) -> None:
        try:
            word = decoder.decode(msgspec.json.encode(data))
        except msgspec.MsgspecError as error:
            logger.warning("no word of presence: %s", error)
            return
        if isinstance(word, Ask) and self._own:
            await self._say(*rosters(self._process, self._own))
        if isinstance(word, Beat) and not self._state.knows(word):
            await self._say(Ask(self._process))
        self._report(self._state.take(word, self._premises.clock.monotonic()))

    async def _tell(self) -> None:
        """Tell of moves, gathered for a moment."""
        while True:
            await self._moved.wait()
            await asyncio.sleep(GATHER)
            self._moved.clear()
            moves, self._moves = self._moves, {}
            joined = [place for place, is_here in moves.items() if is_here]
            left = [place for place, is_here in moves.items() if not is_here]
            try:
                await self._say_moves(joined, left)
            except LogError as error:
                logger.warning("could not tell who came and left, trying again: %s", error)
                self._moves = {**moves, **self._moves}
                await asyncio.sleep(jitter(1.0))
                self._moved.set()

    async def _say_moves(self, joined: list[Place], left: list[Place]) -> None:
        size = 1000
        for at in range(0, max(len(joined), len(left)), size):
            part = slice(at, at + size)
            await self._say(Moves(self._process, joined[part], left[part]))

    def _told(self) -> int:
        """Count the places here that the others were told of."""
        return len(self._own) - sum(1 if is_here else -1 for is_here in self._moves.values())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(jitter(self._lease() / BEATS, spread=0.2))
            if self._own:
                try:
                    await self._say(Beat(self._process, self._told()))
                except LogError as error:
                    logger.warning("could not say that this process lives: %s", error)

    async def _expire(self) -> None:
        while True:
            lease = self._lease()
            await asyncio.sleep(lease / LOOKS)
            now = self._premises.clock.monotonic()
            self._report(self._state.expire(now, lease))


class Presence:
    """Know who is on one channel.

    Args:
        presences: Knows of all.
        key: The channel.
    """

    def __init__(self, presences: Presences, key: ChannelKey) -> None:
        self._presences = presences
        self._key = key

    async def members(self) -> list[Place]:
        """Return who is there, client by client, in the order they came."""
        return await self._presences.members(self._key)

    async def users(self) -> list[Id]:
        """Return the users who are there with at least one client, each once."""
        members = await self.members()
        return list(dict.fromkeys(one.user_id for one in members if one.user_id is not None))

    @asynccontextmanager
    async def entered(self, client_id: str, *, user_id: Id | None = None) -> AsyncIterator[None]:
        """Be there for as long as the block lasts, as a bot or a device is.

        Args:
            client_id: Names the client.
            user_id: The user behind it.
        """
        place = Place(self._key.site_id, self._key.name, client_id, user_id)
        await self._presences.members(self._key)
        self._presences.enter(place)
        try:
            yield
        finally:
            self._presences.leave(place)

    async def changes(self) -> AsyncIterator[Change]:
        """Yield who comes and who leaves, from now on."""
        moved = asyncio.Event()
        end = self._presences.hear(self._key, lambda _: moved.set())
        try:
            seen = dict.fromkeys(await self._presences.members(self._key))
            while True:
                await moved.wait()
                moved.clear()
                # What came and went while nobody asked is nothing: the buffer is the state itself.
                now = dict.fromkeys(self._presences.known(self._key))
                joined = tuple(one for one in now if one not in seen)
                left = tuple(one for one in seen if one not in now)
                seen = now
                if joined or left:
                    yield Change(self._key, joined, left)
        finally:
            end()


class PresenceFace(WingedBus):
    """Tell who is on a channel."""

    def presence(self, channel: str, *, site_id: str | None = None) -> Presence:
        """Return who is on a channel, over all processes.

        Clients of the gateway are seen on the channels that its setting ``presence`` names. After
        a crash of a process its clients are seen for at most 15 seconds more.

        Args:
            channel: The channel's name.
            site_id: The tenant, instead of the one the site lookup gives.

        Raises:
            GrammarError: The name is outside the grammar.
        """
        return Presence(self.presences, channel_key(channel, self._site(site_id)))

    @cached_property
    def presences(self) -> Presences:
        """Return what knows of all channels."""
        return self.add_wing(lambda premises: Presences(premises, lambda: self.presence_lease))

    @property
    def presence_lease(self) -> float:
        """Return the seconds of silence after which a process counts as dead."""
        return LEASE
