"""What a request carries, in each of the formats that an app may ask for.

``standard`` is the payload shape that Standard Webhooks 1.0 recommends; ``cloudevents`` is
CloudEvents 1.0 in structured mode; ``demux`` is Demux's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from trunkline.model import codec
from trunkline.model.release import VERSION
from trunkline.webhooks.errors import PayloadError
from trunkline.webhooks.keys import key_from
from trunkline.webhooks.outgoing import Transmission

#: Bytes of a body at most.
LARGEST: Final = 1024 * 1024
_AGENT: Final = f"Trunkline/{VERSION}"
_JSON: Final = {"content-type": "application/json", "user-agent": _AGENT}


def plain_payload(payload: Any) -> dict[str, Any]:
    """Return what a payload method gave as a JSON object.

    Raises:
        PayloadError: It gave something else.
    """
    is_value = dataclasses.is_dataclass(payload) and not isinstance(payload, type)
    if isinstance(payload, msgspec.Struct) or is_value:
        payload = msgspec.to_builtins(payload)
    if not isinstance(payload, Mapping):
        raise PayloadError(
            f"a payload is a mapping, a dataclass or a msgspec struct, not {type(payload).__name__}"
        )
    return dict(payload)


def body_of(
    kind: str, one: Transmission, payload: dict[str, Any], *, source: str
) -> tuple[bytes, dict[str, str]]:
    """Return a request's body and headers.

    Args:
        kind: The format.
        one: What it is for.
        payload: What is sent.
        source: Names this host.

    Raises:
        PayloadError: It is too large.
        UnencodableDataError: It is no strict JSON.
    """
    if kind == "demux":
        document, headers = {"action": one.action, **payload}, {**_JSON, "user-agent": "Demux"}
    elif kind == "cloudevents":
        document, headers = _cloud_event(one, payload, source), dict(_JSON)
        headers["content-type"] = "application/cloudevents+json; charset=utf-8"
    else:
        document, headers = _standard(one, payload), dict(_JSON)
    body = codec.encode(document)
    if len(body) > LARGEST:
        raise PayloadError(
            f"this payload has {len(body)} bytes and at most {LARGEST} are allowed: send a "
            "reference, and let the app fetch the rest"
        )
    return body, headers


def _standard(one: Transmission, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": f"{one.signal_name}.{one.action}",
        "timestamp": _moment(one.created_at),
        "account": {"type": one.account_type, "id": _plain(one.account_id)},
        "data": payload,
    }


def _cloud_event(one: Transmission, payload: dict[str, Any], source: str) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": one.id,
        "source": source,
        "type": f"{one.signal_name}.{one.action}",
        "time": _moment(one.created_at),
        "datacontenttype": "application/json",
        "accounttype": one.account_type,
        "accountid": str(_plain(one.account_id)),
        "data": payload,
    }
    if one.object_id is not None:
        event["subject"] = str(_plain(one.object_id))
    return event


def _plain(key: str) -> str | int:
    found = key_from(key)
    return str(found) if isinstance(found, UUID) else found


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
