"""The switchboard: connects clients with the line, and moves them between log and memory.

The order of :meth:`Switchboard.add` is what makes losing a message impossible: register with the
hub, then look where the line ends, then decide where to start. Whatever comes after the look is
in memory or can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from trunkline.channels.catchup import Gap, Step, next_step
from trunkline.channels.hub import Hub
from trunkline.errors import GrammarError
from trunkline.gateway.access import Gatekeeper
from trunkline.gateway.cohort import Cohort
from trunkline.gateway.cohorts import Cohorts
from trunkline.gateway.connection import (
    NOTHING,
    Connection,
    Mark,
    Part,
    Speak,
    State,
    names_of,
)
from trunkline.gateway.crew import Crew
from trunkline.gateway.framing import Framing
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.pump import Pump
from trunkline.gateway.questions import Questions
from trunkline.gateway.reader import Reader
from trunkline.gateway.sinks import Sink
from trunkline.gateway.starting import (
    Beginning,
    Prepared,
    find_beginning,
    interest_in,
    merge,
)
from trunkline.gateway.upkeep import Upkeep
from trunkline.log.port import Log
from trunkline.model.identity import Viewer
from trunkline.model.interest import Interest
from trunkline.model.position import Position
from trunkline.runtime.clock import Clock, jitter
from trunkline.wire.start import Start

MILLISECONDS: Final = 1000


class Switchboard:
    """Hold all connections of a gateway.

    Args:
        log: The log.
        hub: This process's hub on it.
        options: The settings.
        gatekeeper: Decides about channels met through patterns.
        clock: Tells the time.

    Attributes:
        hub: The hub.
        pump: Writes.
        crew: Runs the gateway's own tasks.
        connections: All that have not ended.
        cohorts: The live ones among them, by what they want.
        upkeep: Looks after them as time passes.
        on_interest: Called with a connection when what it reads has changed.
    """

    def __init__(
        self,
        log: Log,
        hub: Hub,
        *,
        options: GatewayOptions,
        gatekeeper: Gatekeeper,
        clock: Clock,
    ) -> None:
        self.hub = hub
        self.pump = Pump()
        self.crew = Crew()
        self.connections: set[Connection] = set()
        self._log = log
        self._options = options
        self._gatekeeper = gatekeeper
        self.cohorts = Cohorts(self, hub, gatekeeper)
        self._reader = Reader(self, log)
        self._questions = Questions(self, gatekeeper)
        self.upkeep = Upkeep(self, options, clock)
        self.on_interest: Callable[[Connection], None] = lambda _: None

    # -- opening and closing ------------------------------------------------------------------

    def connect(
        self,
        viewer: Viewer,
        framing: Framing,
        sink: Sink,
        *,
        transport: str,
        hold: float | None = None,
    ) -> Connection:
        """Make a connection that is not yet subscribed to anything.

        Args:
            viewer: Who listens.
            framing: How its protocol is written.
            sink: Where its bytes go.
            transport: What operators see.
            hold: Seconds after which it ends; the setting ``max_hold``, jittered, by default.
        """
        connection = Connection(self, viewer, framing, sink, transport=transport)
        sink.owner = connection
        self.connections.add(connection)
        self.upkeep.begin(connection, hold)
        return connection

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that has ended."""
        self.connections.discard(connection)
        self._withdraw(connection)
        connection.state = State.ENDED
        self.upkeep.finish(connection)

    async def close(self) -> None:
        """End every connection, politely where possible, and every task."""
        for connection in tuple(self.connections):
            connection.end("shutdown")
        await self.crew.close()
        self.upkeep.close()

    def retry_ms(self) -> int:
        """Choose how long a client shall wait before it comes back."""
        return round(jitter(self._options.retry_after) * MILLISECONDS)

    # -- subscribing --------------------------------------------------------------------------

    async def prepare(
        self,
        starts: Mapping[str, Start],
        site_id: str | None,
        *,
        last: int | None = None,
        present: Interest = NOTHING,
    ) -> Prepared:
        """Register an interest and find out where it starts, before there is a connection.

        Args:
            starts: Names or patterns, access to them already granted, and where each starts.
            site_id: The tenant.
            last: Start with the newest so many messages of each channel instead.
            present: What is subscribed already.

        Returns:
            What :meth:`settle` takes; it must be released.

        Raises:
            LogError: The log cannot be read.
            LineClosedError: The line is closed.
        """
        known = names_of(present)
        fresh = {name: start for name, start in starts.items() if name not in known}
        interest = present | interest_in(fresh, site_id)
        if not interest:
            raise GrammarError("no channel is named: name at least one")
        prepared = Prepared(self.hub, interest)
        prepared.track = await self.hub.join(interest, prepared.wake)
        try:
            prepared.beginning = await find_beginning(self._log, fresh, site_id, last=last)
        except BaseException:
            prepared.release()
            raise
        return prepared

    async def settle(
        self,
        connection: Connection,
        prepared: Prepared,
        *,
        acknowledge: Speak | None = None,
        live: Speak | None = None,
    ) -> Position:
        """Subscribe a connection to what was prepared; arguments as for :meth:`Connection.add`."""
        cohort = await self.cohorts.join(prepared.interest, connection.framing)
        prepared.release()
        beginning = prepared.beginning
        heads = beginning.heads
        started = beginning.parts[0].after if beginning.parts else heads.head
        position = Position(heads.epoch, started)
        if self._is_too_late(connection, cohort):
            return position
        self._withdraw(connection)
        connection.cohort = cohort
        gaps = self._gaps(connection, beginning)
        parts = merge([*self._standing_parts(connection), *beginning.parts])
        connection.interest, connection.is_guarded = cohort.interest, cohort.is_guarded
        connection.active, connection.parts = parts[0].interest, tuple(parts[1:])
        self.on_interest(connection)
        if beginning.floor:
            connection.told = (connection.active, beginning.floor)
        for frame in [acknowledge(position) if acknowledge else b"", *gaps]:
            connection.reply(frame)
        if live is not None:
            connection.marks = (*connection.marks, Mark(heads.head, live))
        connection.move_to(Position(heads.epoch, parts[0].after))
        self.advance(connection)
        return position

    async def add(
        self,
        connection: Connection,
        starts: Mapping[str, Start],
        *,
        last: int | None,
        acknowledge: Speak | None,
        live: Speak | None,
    ) -> Position:
        """Subscribe a connection to channels; see :meth:`Connection.add`."""
        site_id = connection.viewer.identity.site_id
        prepared = await self.prepare(starts, site_id, last=last, present=connection.interest)
        return await self.settle(connection, prepared, acknowledge=acknowledge, live=live)

    async def attach(
        self, connection: Connection, interest: Interest, parts: Sequence[Part], epoch: str
    ) -> None:
        """Let a fresh connection listen, each part from its own place on.

        Args:
            connection: A connection that is subscribed to nothing.
            interest: What it wants; the caller has registered it with the hub.
            parts: All of it, each with its place, ascending.
            epoch: The epoch of the places.
        """
        cohort = await self.cohorts.join(interest, connection.framing)
        if self._is_too_late(connection, cohort):
            return
        connection.cohort = cohort
        connection.interest, connection.is_guarded = cohort.interest, cohort.is_guarded
        connection.active, connection.parts = parts[0].interest, tuple(parts[1:])
        connection.position = Position(epoch, parts[0].after)
        self.on_interest(connection)
        self.advance(connection)

    def _standing_parts(self, connection: Connection) -> list[Part]:
        if not connection.interest or connection.position is None:
            return []
        here = Part(connection.position.global_id, connection.active)
        return [here, *connection.parts]

    def _gaps(self, connection: Connection, beginning: Beginning) -> list[bytes]:
        """Write what is lost: by what is subscribed already, and by what comes with a position."""
        frames: list[bytes] = []
        epoch, position = beginning.heads.epoch, connection.position
        if connection.interest and position is not None and position.epoch != epoch:
            gap = Gap("reset", position.global_id, Position(epoch, 0))
            frames.append(connection.framing.gap(gap, connection.names, {}))
            connection.start_over()
            connection.position = gap.position
        if beginning.gap is not None:
            frames.append(connection.framing.gap(beginning.gap, beginning.lost, {}))
        return frames

    async def remove(self, connection: Connection, names: Iterable[str]) -> list[str]:
        """Take channels from a connection; see :meth:`Connection.remove`."""
        present = set(connection.names)
        given_up = [name for name in dict.fromkeys(names) if name in present]
        if not given_up or connection.has_ended:
            return given_up
        gone = interest_in(given_up, connection.viewer.identity.site_id)
        rest = _without(connection.interest, gone)
        cohort = await self.cohorts.join(rest, connection.framing) if rest else None
        if self._is_too_late(connection, cohort):
            return given_up
        self._withdraw(connection)
        connection.interest, connection.cohort = rest, cohort
        connection.is_guarded = cohort is not None and cohort.is_guarded
        _drop_parts(connection, gone)
        self.on_interest(connection)
        self.advance(connection)
        return given_up

    def _is_too_late(self, connection: Connection, cohort: Cohort | None) -> bool:
        """Leave the cohort again if the connection ended while it was joined."""
        if not connection.has_ended:
            return False
        if cohort is not None:
            self.cohorts.leave(cohort)
        return True

    # -- moving between log and memory --------------------------------------------------------

    def resume(self, connection: Connection) -> None:
        """Go on with a connection that can be written to again."""
        if connection.state is State.LIVE and connection.cohort is not None:
            connection.cohort.kick(connection)
        elif connection.state is State.READING:
            self.advance(connection)

    def catch_up(self, connection: Connection) -> None:
        """Read pages for a connection that memory cannot feed."""
        if connection.cohort is not None:
            connection.cohort.dismiss(connection)
        connection.state = State.READING
        self._reader.want(connection)

    def advance(self, connection: Connection) -> None:
        """Let a connection go on from where it stands: to the next page, or to live messages."""
        if self._gatekeeper.is_expired(connection.viewer.identity):
            self.hold_back(connection)  # until it is known again who listens
            return
        connection.activate()
        cohort, position = connection.cohort, connection.position
        if cohort is None or cohort.track is None or position is None:
            connection.state = State.IDLE
            return
        step = next_step(position, cohort.track.window)
        if connection.parts or step is Step.READ:
            connection.state = State.READING
            self._reader.want(connection)
        else:
            cohort.admit(connection, is_ahead=step is Step.GAP)

    def hold_back(self, connection: Connection) -> None:
        """Tell a connection nothing until :meth:`advance` is called for it."""
        if connection.cohort is not None:
            connection.cohort.dismiss(connection)
        connection.state = State.IDLE

    def _withdraw(self, connection: Connection) -> None:
        """Take a connection from its cohort, in whatever state."""
        connection.state = State.IDLE
        cohort, connection.cohort = connection.cohort, None
        if cohort is not None:
            cohort.dismiss(connection)
            self.cohorts.leave(cohort)

    def beat(self, connection: Connection) -> None:
        """Write a heartbeat with the position; what the client may not see moved it too."""
        if connection.state is State.LIVE and connection.cohort is not None:
            connection.cohort.feed(connection)
        if not connection.sink.is_writable or connection.has_ended:
            return
        is_live = connection.state is State.LIVE
        frame = connection.framing.heartbeat(connection.position if is_live else None)
        connection.write([frame])

    # -- access -------------------------------------------------------------------------------

    def knows(self, connection: Connection, name: str) -> bool | None:
        """Say whether a connection may read a channel met through a pattern, if that is known."""
        return self._gatekeeper.known(connection.viewer.identity, name)

    def ask(self, connection: Connection, name: str) -> None:
        """Stop feeding a connection until the access hook has answered."""
        self.hold_back(connection)
        self._questions.ask(connection, name)


def _without(interest: Interest, gone: Interest) -> Interest:
    rest = Interest(interest.keys - gone.keys, interest.patterns - gone.patterns)
    return rest or NOTHING


def _drop_parts(connection: Connection, gone: Interest) -> None:
    """Take an interest from what is being read and from what shall join in later."""
    connection.active = _without(connection.active, gone)
    parts = [Part(part.after, _without(part.interest, gone)) for part in connection.parts]
    parts = [part for part in parts if part.interest]
    if not connection.active and parts and connection.position is not None:
        connection.active = parts[0].interest
        connection.position = Position(connection.position.epoch, parts[0].after)
        del parts[0]
    connection.parts = tuple(parts)
