"""What one client is told of entities: its watches, the latest of each, when it can be written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from trunkline.entities.group import Watch
from trunkline.entities.passing import ClientMessage, Passage
from trunkline.entities.value import Failure, State
from trunkline.entities.viewer import Viewer
from trunkline.entities.watchlist import WatchList, denied
from trunkline.errors import UsageError
from trunkline.gateway.connection import Connection
from trunkline.gateway.context import Context
from trunkline.gateway.switchboard import Switchboard
from trunkline.model.entity import EntityKey
from trunkline.wire.socket import MAX_ID_CHARACTERS
from trunkline.wire.watch import EntityRefusal, Id, Named, Watching

#: What one write may have before the client must have taken it.
WRITE_BYTES: Final = 256 * 1024


class Speech(Protocol):
    """Write what is told of entities, in one protocol.

    Attributes:
        repeats: Whether every change is told, also one that looks like no change.
    """

    repeats: bool

    def news(self, news: State | Failure) -> Sequence[bytes]:
        """Write what a watch has to tell."""

    def refused(self, request_id: Id | None, refused: Sequence[EntityRefusal]) -> Sequence[bytes]:
        """Write that entities turned out to be refused."""

    def reply(self, request_id: Id | None, data: bytes) -> bytes:
        """Write the application's answer to a message of its own."""


class EntityTalk:
    """Tell one client of entities.

    However fast they change and however slowly the client reads, only the latest state of each
    waits: there is no queue.

    Args:
        context: What the gateway's endpoints share.
        board: Holds the connection.
        connection: The client's.
        speech: How it is written to.

    Raises:
        UsageError: No entities are served here.
    """

    __slots__ = (
        "_board", "_connection", "_context", "_is_held", "_passage", "_pending", "_speech",
        "_watches", "is_queued",
    )  # fmt: skip

    def __init__(
        self, context: Context, board: Switchboard, connection: Connection, speech: Speech
    ) -> None:
        if context.entities is None:
            raise UsageError("no entities are served here")
        self._context = context
        self._board = board
        self._connection = connection
        self._speech = speech
        self._pending: dict[Watch, None] = {}
        self._passage: Passage | None = None
        self._is_held = False
        self.is_queued = False
        self._watches = WatchList(
            context.entities,
            Viewer(connection.viewer.identity),
            self._on_news,
            most=lambda: context.options.max_watches,
            is_paused=self._is_expired,
            repeats=speech.repeats,
        )
        connection.riders = (*connection.riders, self)
        connection.when_ended(self._close)

    def _close(self) -> None:
        self._watches.close()
        self._pending.clear()
        self._connection.riders = ()
        if self._passage is not None:
            self._passage.close()

    # -- what the client says -----------------------------------------------------------------

    async def watch(
        self,
        named: Iterable[Named],
        acknowledge: Callable[[Watching], None],
        *,
        request_id: Id | None = None,
    ) -> None:
        """Watch entities.

        Args:
            named: Which, checked.
            acknowledge: Called with what became of it, before any of them is told.
            request_id: Of the request.

        Raises:
            LogError: The log cannot be read.
        """
        self._is_held = True
        try:
            taken = await self._watches.add(named, request_id=request_id)
            kept, current = _named(taken.watching), _named(taken.current)
            acknowledge(Watching(request_id, kept, taken.refused, current))
        finally:
            self._is_held = False
            if self._connection.has_ended:  # meanwhile, and gave up all but the last
                self._watches.close()
        self.on_writable()

    def unwatch(self, keys: Iterable[EntityKey]) -> list[Named]:
        """Watch entities no longer, and return those that were watched."""
        return _named(self._watches.remove(keys))

    def set_secret(self, secret: str | None) -> None:
        """Set the secret; everything watched is asked for anew."""
        self._watches.change_viewer(Viewer(self._connection.viewer.identity, secret))

    def pass_on(self, text: str) -> bool:
        """Hand a message to the application's receiver.

        Returns:
            Whether there was room for it.
        """
        entities = self._context.entities
        if entities is None or entities.receiver is None:
            return True
        if self._passage is None:
            self._passage = Passage(entities.receiver, self._board.crew.start)
        request_id = _id_of(text)

        def say(data: bytes) -> None:
            self._connection.reply(self._speech.reply(request_id, data))

        return self._passage.put(ClientMessage(text, self._watches.viewer, say))

    # -- what the client is told --------------------------------------------------------------

    def _on_news(self, watch: Watch) -> None:
        self._pending[watch] = None
        if self._connection.sink.is_writable:
            self._board.pump.schedule(self)

    def on_writable(self) -> None:
        """Go on where it stands."""
        if self._pending:
            self._board.pump.schedule(self)

    def on_renewal(self) -> None:
        """Ask for everything anew: the viewer has another identity."""
        secret = self._watches.viewer.secret
        self._watches.change_viewer(Viewer(self._connection.viewer.identity, secret))
        self.on_writable()

    def step(self, until: float) -> bool:  # noqa: ARG002 - one write is short
        """Write the latest of what is to be told, if the client can be written to."""
        connection, pending = self._connection, self._pending
        if connection.has_ended or not connection.sink.is_writable:
            return False
        if self._is_held or self._is_expired():
            return False
        frames: list[bytes] = []
        size = 0
        while pending and size < WRITE_BYTES:
            watch = next(iter(pending))
            del pending[watch]
            for frame in self._frames(watch):
                frames.append(frame)
                size += len(frame)
        if frames:
            connection.write(frames)
        return bool(pending) and connection.sink.is_writable

    def _frames(self, watch: Watch) -> Sequence[bytes]:
        if watch.is_refused:
            return self._speech.refused(watch.request_id, denied([watch]))
        news = watch.take()
        return () if news is None else self._speech.news(news)

    def _is_expired(self) -> bool:
        return self._context.gatekeeper.is_expired(self._connection.viewer.identity)


def _named(keys: Iterable[EntityKey]) -> list[Named]:
    return [Named(*key) for key in keys]


def _id_of(text: str) -> Id | None:
    """Return the id that a message of the application's carries, to be answered with."""
    try:
        given: Any = msgspec.json.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    found = given.get("id") if isinstance(given, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | str):
        return None
    return found if isinstance(found, int) or len(found) <= MAX_ID_CHARACTERS else None
