"""A cohort: live connections that want the same and are written to in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trunkline.channels.catchup import Step, next_step
from trunkline.channels.ring import Track
from trunkline.gateway.connection import Board, Connection, State
from trunkline.gateway.framing import Framing
from trunkline.gateway.pump import STRIDE
from trunkline.gateway.stretch import Stretch, within_bytes
from trunkline.model.interest import Interest
from trunkline.model.position import Position

MAX_ENTRIES: Final = 4096


class Cohort:
    """Feed its members from one track.

    A pass walks a copy of the members. What happens meanwhile (a new message, a member that can
    be written to again, one that joins) is noted, and makes another pass: comparing with the head
    at the end of a pass would forget those who were visited before it moved.

    Args:
        board: Where members go that memory cannot feed.
        interest: What the members want.
        framing: How they are written to.
        is_guarded: Whether access is asked per message, because patterns are wanted.

    Attributes:
        track: What the hub holds for the interest; set when the first member has joined.
        holders: Members, and connections about to become one.
        members: The live connections.
    """

    __slots__ = (
        "_board", "_cursor", "_has_moved", "_kicked", "_stretches", "_walked", "_written_at",
        "framing", "holders", "interest", "is_guarded", "is_queued", "members", "track",
    )  # fmt: skip

    def __init__(
        self, board: Board, interest: Interest, framing: Framing, *, is_guarded: bool
    ) -> None:
        self._board = board
        self.interest = interest
        self.framing = framing
        self.is_guarded = is_guarded
        self.track: Track | None = None
        self.holders = 0
        self.members: dict[Connection, None] = {}
        self.is_queued = False
        self._has_moved = False
        self._kicked: dict[Connection, None] = {}
        self._walked: Sequence[Connection] = ()
        self._cursor = 0
        self._stretches: dict[Position, Stretch | Step] = {}
        self._written_at: tuple[str, int] = ("", 0)

    def wake(self) -> None:
        """Note that the track moved; called by the hub."""
        self._has_moved = True
        self._board.pump.schedule(self)

    def admit(self, connection: Connection, *, is_ahead: bool) -> None:
        """Make a connection live, and feed it what it has not got yet.

        Args:
            connection: A connection that memory can feed.
            is_ahead: Whether it met an epoch that the hub has yet to meet; it then waits for
                the hub, which wakes the cohort.
        """
        connection.state = State.LIVE
        self.members[connection] = None
        if not is_ahead:
            self.kick(connection)

    def dismiss(self, connection: Connection) -> None:
        """Feed a connection no longer."""
        self.members.pop(connection, None)
        self._kicked.pop(connection, None)

    def kick(self, connection: Connection) -> None:
        """Feed one member soon."""
        self._kicked[connection] = None
        self._board.pump.schedule(self)

    def step(self, until: float) -> bool:
        """Walk on, until nothing is left or the time is up."""
        now = self._board.pump.now
        self._refresh()
        while self._cursor < len(self._walked) or self._begin_pass():
            stride = self._walked[self._cursor : self._cursor + STRIDE]
            self._cursor += STRIDE
            for connection in stride:
                self._feed(connection)
            if now() >= until:
                return True
        self._stretches.clear()
        return False

    def _begin_pass(self) -> bool:
        self._walked, self._cursor = (), 0
        if self._has_moved:
            self._has_moved = False
            self._kicked.clear()
            self._walked = tuple(self.members)
        elif self._kicked:
            self._walked = tuple(self._kicked)
            self._kicked.clear()
        return bool(self._walked)

    def _refresh(self) -> None:
        """Forget framed stretches that no longer end at the head."""
        track = self.track
        if track is not None and (track.epoch, track.head) != self._written_at:
            self._written_at = (track.epoch, track.head)
            self._stretches.clear()

    def feed(self, connection: Connection) -> None:
        """Write to a member what lies between its position and the head.

        Args:
            connection: A member; nothing happens while it is not writable, or no longer one.
        """
        # Heartbeats come between passes, each at another head while the channels are quiet.
        self._refresh()
        self._feed(connection)

    def _feed(self, connection: Connection) -> None:
        position = connection.position
        if (
            connection.state is not State.LIVE
            or connection.cohort is not self
            or position is None
            or not connection.sink.is_writable
        ):
            return
        found = self._stretches.get(position)
        if found is None:
            found = self._stretches[position] = self._stretch_after(position)
        if isinstance(found, Stretch):
            unsure = found.tell(connection)
            if unsure is not None:
                self._board.ask(connection, unsure)
            elif found.has_more:
                self.kick(connection)
        elif found is not Step.WAIT:
            # Before what memory holds, or of another epoch: the log knows, and says what is gone.
            self._board.catch_up(connection)

    def _stretch_after(self, position: Position) -> Stretch | Step:
        track = self.track
        if track is None:
            return Step.WAIT
        step = next_step(position, track.window)
        if step is not Step.LIVE:
            return step
        entries = track.after(position.global_id, MAX_ENTRIES)
        count = within_bytes(entries) if entries else 0
        has_more = count < len(entries) or len(entries) == MAX_ENTRIES
        if has_more:
            entries = entries[:count]
            end = Position(track.epoch, entries[-1].global_id)
        else:
            end = Position(track.epoch, track.head)
        stretch = Stretch(entries, end, self.framing, is_guarded=self.is_guarded)
        stretch.has_more = has_more
        return stretch

    def __repr__(self) -> str:
        return f"<Cohort {self.framing.name} members={len(self.members)}>"
