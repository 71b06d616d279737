"""When two signals are the same: hashes of what identifies them.

Ours is over canonical JSON (keys sorted, types kept), so that the order in which a context was
written does not matter and ``1`` is not ``"1"``. Demux's is over the JSON that ActiveSupport
writes, in a fixed order of the fields; two peers that share a database need it to the byte.
Source of the latter: Demux 0.1.0.beta, ``SignalAttributes``.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from trunkline.errors import UnencodableDataError

_ESCAPED: Final = re.compile("[<>&\u2028\u2029]")
_EXPONENT: Final = re.compile(r"^(-?[0-9]+)e")
_encoder = msgspec.json.Encoder(order="sorted")


def canonical_hash(*fields: Any) -> str:
    """Return the SHA-256 of some JSON values, in lowercase hexadecimal.

    Args:
        *fields: Values that strict JSON can carry.
    """
    return hashlib.sha256(_encoder.encode(fields)).hexdigest()


def demux_hash(
    *,
    account_id: Any,
    account_type: str,
    action: str,
    context: Mapping[str, Any] | None,
    object_id: Any,
    signal_class: str,
) -> str:
    """Return a Demux signal's uniqueness hash.

    Args:
        account_id: The account.
        account_type: Its kind.
        action: What happened.
        context: What was captured; the order of its keys counts.
        object_id: The object.
        signal_class: The Ruby class's name.

    Raises:
        UnencodableDataError: Something is none of JSON's types, a date, a time, a decimal or a
            UUID.
    """
    text = _active_json(
        {
            "account_id": account_id,
            "account_type": account_type,
            "action": action,
            "context": context or {},
            "object_id": object_id,
            "signal_class": signal_class,
        }
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _active_json(value: Any) -> str:
    """Write JSON as ActiveSupport does."""
    if isinstance(value, Mapping):
        pairs = (f"{_text(str(key))}:{_active_json(one)}" for key, one in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_active_json, value)) + "]"
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float):
        return _float(value)
    return _text(_as_text(value))


def _as_text(value: Any) -> str:
    if isinstance(value, str | UUID):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime) and value.tzinfo is not None:
        moment = value.astimezone(UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    raise UnencodableDataError(f"a {type(value).__name__} has no form in Demux's hash")


def _float(value: float) -> str:
    if not math.isfinite(value):
        return "null"
    return _EXPONENT.sub(r"\1.0e", repr(value))


def _text(value: str) -> str:
    written = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", written)
