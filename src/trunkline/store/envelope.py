"""A draft on its way through a table: one value that a guest's driver can store."""

from __future__ import annotations

import msgspec

from trunkline.errors import InvalidMessageError, TrunklineError
from trunkline.model import codec
from trunkline.model.channel import Kind, channel_key, check_name, check_site
from trunkline.model.message import Draft


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be a draft as MessagePack keeps it: fields by name, so that later releases may add some."""

    name: str
    site_id: str | None = None
    data: bytes
    audience: bytes | None = None
    headers: bytes | None = None
    kind: Kind = Kind.PLAIN
    expected_version: int | None = None
    key: str | None = None
    max_backlog_size: int | None = None
    max_backlog_age: float | None = None


_OTHERS = tuple(name for name in _Envelope.__struct_fields__ if name not in {"name", "site_id"})
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Envelope)


def seal(draft: Draft) -> bytes:
    """Return a draft as bytes."""
    others = {name: getattr(draft, name) for name in _OTHERS}
    key = draft.channel
    return _encoder.encode(_Envelope(name=key.name, site_id=key.site_id, **others))


def unseal(sealed: bytes) -> Draft:
    """Return the draft that :func:`seal` made bytes of.

    Raises:
        InvalidMessageError: The bytes hold none, or one that may not be published.
    """
    try:
        found = _decoder.decode(sealed)
        key = channel_key(check_name(found.name, internal=True), check_site(found.site_id))
        for text in (found.data, found.audience, found.headers):
            if text is not None:
                codec.decode(text)  # every reader will, and must be able to
        draft = Draft(channel=key, **{name: getattr(found, name) for name in _OTHERS})
        return draft.check_size()
    except (msgspec.MsgspecError, TrunklineError) as error:
        raise InvalidMessageError(f"this row of the outbox holds no message: {error}") from error
