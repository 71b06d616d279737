"""How each protocol writes what its clients are told of entities."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trunkline.entities.value import Failure, State
from trunkline.gateway.framing import EventFraming, SocketFraming
from trunkline.wire import sse
from trunkline.wire.watch import (
    EntityRefusal,
    Id,
    Refused,
    Reply,
    Watching,
    encode_failed,
    encode_push,
    encode_removed,
    encode_state,
)

Frames = Sequence[bytes]


def _state(state: State) -> bytes:
    if state.is_gone:
        return encode_removed(state.key, state.version)
    return encode_state(state.key, state.version, state.rows)


def _failure(failure: Failure) -> bytes:
    return encode_failed(failure.key, failure.code, failure.detail)


class SocketSpeech:
    """Speak of entities on our WebSocket.

    Args:
        framing: How its texts are framed.
    """

    #: Whether every change is told, also one that looks like no change.
    repeats = False

    def __init__(self, framing: SocketFraming) -> None:
        self._framing = framing

    def news(self, news: State | Failure) -> Frames:
        """Write what a watch has to tell."""
        text = self._framing.text
        if isinstance(news, Failure):
            return (text(_failure(news)),)
        frames: Frames = news.framed(self._framing.name, lambda one: (text(_state(one)),))
        return frames

    def refused(self, request_id: Id | None, refused: Sequence[EntityRefusal]) -> Frames:
        """Write that entities turned out to be refused."""
        return (self._framing.text(encode_push(Refused(request_id, list(refused)))),)

    def reply(self, request_id: Id | None, data: bytes) -> bytes:
        """Write the application's answer to a message of its own."""
        return self._framing.text(encode_push(Reply(msgspec.Raw(data), request_id)))


class EventSpeech:
    """Speak of entities on an event stream.

    Args:
        framing: How its events are framed.
    """

    repeats = False

    def __init__(self, framing: EventFraming) -> None:
        self._framing = framing

    def _event(self, name: str, payload: bytes) -> bytes:
        return self._framing.frame(sse.encode_event(payload, name=name))

    def news(self, news: State | Failure) -> Frames:
        """Write what a watch has to tell."""
        if isinstance(news, Failure):
            return (self._event("failed", _failure(news)),)
        frames: Frames = news.framed(self._framing.name, self._state)
        return frames

    def _state(self, state: State) -> Frames:
        return (self._event("removed" if state.is_gone else "entity", _state(state)),)

    def watching(self, watching: Watching) -> bytes:
        """Write which entities are watched, and which are refused."""
        return self._event("watching", encode_push(watching))

    def refused(self, request_id: Id | None, refused: Sequence[EntityRefusal]) -> Frames:
        """Write that entities turned out to be refused."""
        return (self._event("refused", encode_push(Refused(request_id, list(refused)))),)

    def reply(self, request_id: Id | None, data: bytes) -> bytes:  # noqa: ARG002
        """Write nothing: clients of a stream say nothing."""
        return b""


class RawSpeech:
    """Speak entity-sync's protocol: each row by itself, as it is.

    Args:
        framing: How its texts are framed.
    """

    repeats = True

    def __init__(self, framing: SocketFraming) -> None:
        self._framing = framing

    def news(self, news: State | Failure) -> Frames:
        """Write the rows; what is gone or fails is withheld, for which there is no word."""
        if isinstance(news, Failure):
            return ()
        frames: Frames = news.framed(self._framing.name, self._rows)
        return frames

    def _rows(self, state: State) -> Frames:
        return tuple(self._framing.text(value) for _, value in state.rows)

    def refused(self, request_id: Id | None, refused: Sequence[EntityRefusal]) -> Frames:  # noqa: ARG002
        """Write nothing: there is no word for it."""
        return ()

    def reply(self, request_id: Id | None, data: bytes) -> bytes:  # noqa: ARG002
        """Write the application's answer as it is."""
        return self._framing.text(data)
