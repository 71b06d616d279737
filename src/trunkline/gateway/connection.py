"""A held connection: a viewer, an interest and a position; never a queue.

One class serves the three protocols; what differs is the framing and the sink. A connection is
in one of four states: idle (nothing is subscribed, or a subscription is being set up), catching up
(it reads pages of the log), live (a cohort feeds it from memory), ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from trunkline.channels.catchup import Gap
from trunkline.channels.hub import Hub
from trunkline.channels.ring import Entry, Track
from trunkline.gateway.crew import Crew
from trunkline.gateway.framing import Framing, Payload
from trunkline.gateway.pump import Pump
from trunkline.gateway.sinks import Sink
from trunkline.model.identity import Viewer
from trunkline.model.interest import Interest
from trunkline.model.position import Position
from trunkline.wire.start import Start

Speak = Callable[[Position], bytes]
OnEnd = Callable[[], None]


class State(IntEnum):
    """Name what a connection is doing."""

    IDLE = 0
    READING = 1
    LIVE = 2
    ENDED = 3


class Part(NamedTuple):
    """Want an interest from a place of the line on."""

    after: int
    interest: Interest


class Mark(NamedTuple):
    """Have something said when the position reaches a place of the line."""

    at: int
    speak: Speak


NOTHING = Interest()
UNTOLD = (NOTHING, 0)


class Connection:
    """Hold one client.

    Made by the switchboard's ``connect``. Calls of :meth:`add` and :meth:`remove` must not overlap.

    Args:
        board: What connects it with the line.
        viewer: Who listens.
        framing: How its protocol is written.
        sink: Where its bytes go.

    Attributes:
        viewer: Who listens; replaced when its identity was asked for again.
        position: How far it has been told, None before the first :meth:`add`.
        interest: All that is subscribed.
        active: What of it is being read; less than *interest* only while catching up.
        parts: The rest, each with the place from which it joins in, ascending.
        cohort: Which cohort it is registered with.
        state: What it is doing.
        marks: What is to be said at places not yet reached, ascending.
        ends_at: When it has been held long enough, monotonic seconds.
        expires: Called when the identity expires, instead of ending.
        due: Where the wheel has it.
        since: When it was made, Unix seconds, for operators.
        told: For which interest it was told of a gap, and its floor, so as not to be told again.
        stall: The sink's backlog and since when it has not shrunk; None while it is writable.
        transport: ``sse``, ``websocket``, ``streaming`` or ``long-polling``, for operators.
        riders: What else is written to this client, beside channels: entities, presence.
    """

    __slots__ = (
        "__weakref__", "_board", "_on_end", "active", "cohort", "due", "ends_at", "expires",
        "framing", "interest", "is_guarded", "marks", "parts", "position", "riders", "since",
        "sink", "stall", "state", "told", "transport", "viewer",
    )  # fmt: skip

    def __init__(
        self, board: Board, viewer: Viewer, framing: Framing, sink: Sink, *, transport: str
    ) -> None:
        self._board = board
        self._on_end: tuple[OnEnd, ...] = ()
        self.viewer = viewer
        self.framing = framing
        self.sink = sink
        self.transport = transport
        self.position: Position | None = None
        self.interest = NOTHING
        self.active = NOTHING
        self.parts: tuple[Part, ...] = ()
        self.cohort: Group | None = None
        self.state = State.IDLE
        self.marks: tuple[Mark, ...] = ()
        self.is_guarded = False
        self.ends_at = 0.0
        self.expires: OnEnd | None = None
        self.due = -1
        self.since = 0.0
        self.told: tuple[Interest, int] = UNTOLD
        self.riders: tuple[Rider, ...] = ()
        self.stall: tuple[int, float] | None = None

    # -- what sessions and endpoints call -----------------------------------------------------

    async def add(
        self,
        starts: Mapping[str, Start],
        *,
        last: int | None = None,
        acknowledge: Speak | None = None,
        live: Speak | None = None,
    ) -> Position:
        """Subscribe to channels; those already subscribed to stay as they are.

        Live messages pause until what was added has caught up with the rest.

        Args:
            starts: Names or patterns, access to them already granted, and where each starts.
            last: Start with the newest so many messages of each channel instead.
            acknowledge: Makes the frame that goes before the first message, given the position
                where it starts.
            live: Makes the frame that follows when the backlog is through.

        Returns:
            The position where it starts.

        Raises:
            LogError: The log cannot be read; nothing has changed.
            LineClosedError: The line is closed.
        """
        return await self._board.add(self, starts, last=last, acknowledge=acknowledge, live=live)

    async def remove(self, names: Iterable[str]) -> list[str]:
        """Give channels up.

        Args:
            names: Names or patterns, as they were subscribed to.

        Returns:
            Those of them that were subscribed to.
        """
        return await self._board.remove(self, names)

    def reply(self, frame: bytes) -> None:
        """Write a small frame in answer to the client, now."""
        if self.state is not State.ENDED:
            self.sink.reply(frame)

    def end(self, reason: str) -> None:
        """End it from this side, with the protocol's goodbye.

        Args:
            reason: ``shutdown`` (come back), ``expired``, ``revoked``, ``slow``, or ``done`` for
                a poll whose time is over.
        """
        if self.state is State.ENDED:
            return
        self._let_go(self.framing.goodbye(reason, self._board.retry_ms()))

    def finish(self, payload: bytes) -> None:
        """End it from this side with other last bytes than the goodbye, such as a close frame."""
        if self.state is State.ENDED:
            return
        self._let_go(payload)

    def when_ended(self, call: OnEnd) -> None:
        """Have *call* called once when the connection has ended, however it did."""
        self._on_end = (*self._on_end, call)

    @property
    def names(self) -> list[str]:
        """List the names and patterns that are subscribed to."""
        return names_of(self.interest)

    @property
    def has_ended(self) -> bool:
        """Tell whether it has ended."""
        return self.state is State.ENDED

    # -- what the sink calls ------------------------------------------------------------------

    def on_writable(self) -> None:
        """Go on where it stands."""
        self.stall = None
        if self.state is not State.ENDED:
            self._board.resume(self)
            for rider in self.riders:
                rider.on_writable()

    def on_lost(self) -> None:
        """Let go of everything: the peer is gone."""
        if self.state is not State.ENDED:
            self._let_go()

    # -- what cohorts and readers call --------------------------------------------------------

    def admits(self, entry: Entry) -> bool | None:
        """Tell whether the client may see a message; None when the access hook must be asked."""
        if not entry.is_visible_to(self.viewer):
            return False
        if self.is_guarded and entry.key not in self.interest.keys:
            return self._board.knows(self, entry.key.name)
        return True

    def write(self, frames: Sequence[bytes]) -> None:
        """Write frames of its own, which it shares with nobody."""
        told = [frame for frame in frames if frame]
        if told:
            self.sink.write(self.framing.join(told))

    def move_to(self, position: Position) -> None:
        """Stand at *position*, and say what was to be said there."""
        self.position = position
        while self.marks and position.global_id >= self.marks[0].at:
            mark, *rest = self.marks
            self.marks = tuple(rest)
            self.sink.reply(mark.speak(position))

    def activate(self) -> None:
        """Let those parts join in whose place the position has reached."""
        position = self.position
        while self.parts and position is not None and self.parts[0].after <= position.global_id:
            self.active = self.active | self.parts[0].interest
            self.parts = self.parts[1:]
        if not self.parts:
            self.active = self.interest

    def start_over(self) -> None:
        """Want everything from now on: places of an earlier epoch mean nothing any more."""
        self.active = self.interest
        self.told = UNTOLD
        self.parts = ()
        self.marks = tuple(Mark(0, mark.speak) for mark in self.marks)

    def gap_frame(self, gap: Gap, floors: Mapping[str, int] | None = None) -> bytes:
        """Write a gap in all that is being read."""
        return self.framing.gap(gap, names_of(self.active), floors or {})

    def _let_go(self, payload: Payload | None = None) -> None:
        self.state = State.ENDED
        self.sink.owner = None
        if payload is not None:
            # Before it is forgotten: what the client does not take is looked after.
            self.sink.finish(payload)
        self._board.forget(self)
        calls, self._on_end = self._on_end, ()
        for call in calls:
            call()

    def __repr__(self) -> str:
        return f"<Connection {self.transport} {self.viewer!r} {self.state.name} at {self.position}>"


def names_of(interest: Interest) -> list[str]:
    """List an interest's names and patterns, in order."""
    names = {key.name for key in interest.keys} | {one.text for one in interest.patterns}
    return sorted(names)


class Rider(Protocol):
    """Be written to a connection beside its channels."""

    def on_writable(self) -> None:
        """Go on where it stands: the sink can be written to again, or the viewer is known again."""

    def on_renewal(self) -> None:
        """Note that the connection has a viewer with a new identity."""


class Group(Protocol):
    """Be the cohort that a connection is registered with, as seen from outside.

    Attributes:
        interest: What its members want.
        framing: How they are written to.
        is_guarded: Whether access is asked per message.
        track: What the hub holds for the interest.
        holders: Members, and connections about to become one.
    """

    interest: Interest
    framing: Framing
    is_guarded: bool
    track: Track | None
    holders: int

    def wake(self) -> None:
        """Note that the track moved."""

    def admit(self, connection: Connection, *, is_ahead: bool) -> None:
        """Make a connection live."""

    def dismiss(self, connection: Connection) -> None:
        """Feed a connection no longer."""

    def kick(self, connection: Connection) -> None:
        """Feed one member soon."""

    def feed(self, connection: Connection) -> None:
        """Feed one member now."""


class Board(Protocol):
    """Be the switchboard, as seen by what it holds together.

    Attributes:
        hub: This process's hub.
        pump: Writes.
        crew: Runs the gateway's own tasks.
    """

    hub: Hub
    pump: Pump
    crew: Crew

    def retry_ms(self) -> int:
        """Choose how long a client shall wait before it comes back."""

    async def add(
        self,
        connection: Connection,
        starts: Mapping[str, Start],
        *,
        last: int | None,
        acknowledge: Speak | None,
        live: Speak | None,
    ) -> Position:
        """Subscribe a connection to channels."""

    async def remove(self, connection: Connection, names: Iterable[str]) -> list[str]:
        """Take channels from a connection."""

    def resume(self, connection: Connection) -> None:
        """Go on with a connection that can be written to again."""

    def catch_up(self, connection: Connection) -> None:
        """Read pages for a connection that memory cannot feed."""

    def advance(self, connection: Connection) -> None:
        """Let a connection go on from where it stands."""

    def hold_back(self, connection: Connection) -> None:
        """Tell a connection nothing until it may go on."""

    def beat(self, connection: Connection) -> None:
        """Write a heartbeat."""

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that has ended."""

    def knows(self, connection: Connection, name: str) -> bool | None:
        """Say whether a connection may read a channel, if that is known."""

    def ask(self, connection: Connection, name: str) -> None:
        """Stop feeding a connection until the access hook has answered."""
