"""The writer of events: makes drafts of what was decided, each with its header.

What the events of one decision have in common is worked out once: a command may decide hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trunkline.cqrs.catalog import HeaderText, encode_header
from trunkline.cqrs.command import Event, Header, Recorded, Stored, stored
from trunkline.cqrs.frame import Frame
from trunkline.cqrs.plan import Plan
from trunkline.errors import ConfigError, InvalidMessageError
from trunkline.model import codec
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.message import MAX_MESSAGE_BYTES, Draft
from trunkline.runtime.clock import Clock

#: Events of one decision from which on working out what they share is worth it.
MANY: Final = 4


class EventWriter:
    """Stage events for the append at a transaction's end.

    Args:
        plan: What was registered.
        clock: Tells when they were decided.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock

    def write(
        self,
        frame: Frame,
        events: Sequence[Event],
        channel: ChannelKey,
        version: int,
        cause: Recorded[Any] | None = None,
    ) -> list[Recorded[Any]]:
        """Stage events of one stream, one after another.

        Args:
            frame: The command, or what reacts to an event.
            events: What was decided.
            channel: The stream.
            version: Of the stream before them.
            cause: The event they follow from, if not the command itself.

        Raises:
            ConfigError: One's type is not registered.
            InvalidMessageError: One could not be read again.
        """
        ctx = frame.ctx
        at, stream = self._clock.now(), channel.name
        causation = ctx.causation if cause is None else cause.headers.id
        domain, kind, text = frame.plan.domain.name, None, None
        found: list[tuple[Recorded[Any], Draft]] = []
        for event in events:
            if kind is None or kind.kind is not type(event):
                kind, text = self._kind(frame, event), None
            data = codec.encode(event)
            checked = _checked(kind, data)
            number = ctx.next_event()
            header = Header(
                name=kind.name if kind.is_fixed else kind.name_of(checked),
                v=kind.version,
                id=f"{ctx.command_id}.{number}",
                command=ctx.command_id,
                causation=causation,
                correlation=ctx.correlation,
                domain=domain,
                at=at,
                actor=ctx.actor,
                type=None if kind.is_fixed else kind.name,
                tags=kind.tags_of(checked) if kind.tags else (),
            )
            if text is None and kind.is_plain and len(events) >= MANY:
                text = HeaderText(header)
            headers = encode_header(header) if text is None else text.numbered(number)
            version += 1
            recorded = Recorded(
                event=checked,
                name=header.name,
                version=header.v,
                stream=stream,
                stream_version=version,
                position=0,
                headers=header,
            )
            found.append((recorded, _draft(channel, data, headers, version)))
        frame.scope.stage(found)
        return [recorded for recorded, _ in found]

    def _kind(self, frame: Frame, event: Event) -> Stored:
        kind = stored(type(event))
        if kind.name not in self._plan.catalog:
            raise ConfigError(
                f"{type(event).__name__} can't be read again, for nobody knows it: name it in "
                f"{frame.plan.domain.name}'s handlers, or say line.event({type(event).__name__})"
            )
        return kind


def _draft(channel: ChannelKey, data: bytes, headers: bytes, version: int) -> Draft:
    draft = Draft(
        channel=channel,
        data=data,
        headers=headers,
        kind=Kind.STREAM,
        expected_version=version - 1,
    )
    # Most are small, and counting the bytes is quicker than asking.
    return draft.check_size() if len(data) + len(headers) > MAX_MESSAGE_BYTES else draft


def _checked(kind: Stored, data: bytes) -> Any:
    """Return an event as it will be read again, so that nothing unreadable is stored.

    Raises:
        InvalidMessageError: A field is of another type than it says.
    """
    try:
        return kind.decoder.decode(data)
    except msgspec.ValidationError as error:
        raise InvalidMessageError(f"the event {kind.name!r} does not fit: {error}") from error
