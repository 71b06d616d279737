"""entity-sync's WebSocket protocol, as its clients speak it: actions in, raw rows out.

Source: the wire as entity-sync 5.2 behaves. A text is a JSON object ``{"action","body"}``; names
of members are matched in any case, actions exactly; nothing is ever answered.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from trunkline.errors import GrammarError
from trunkline.model import codec
from trunkline.model.entity import EntityKey, check_entity, check_id

DEFAULT_PATH: Final = "/ws/entity-sync/"


class Subscribe(NamedTuple):
    """Want an entity's changes."""

    key: EntityKey


class Unsubscribe(NamedTuple):
    """Want them no longer."""

    key: EntityKey


class Secret(NamedTuple):
    """Set the secret."""

    text: str


class Foreign(NamedTuple):
    """Be a message of the application's own: an object without an action, or ``null``."""


class Unknown(NamedTuple):
    """Be what the protocol has no word for: another action, or a text that is no JSON object."""


class Malformed(NamedTuple):
    """Be an action whose body is wrong.

    Args:
        detail: What is wrong.
    """

    detail: str


Action = Subscribe | Unsubscribe | Secret | Foreign | Unknown | Malformed


def parse_action(text: str | bytes) -> Action:
    """Read what a client says.

    Args:
        text: A message's payload.
    """
    try:
        given = msgspec.json.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return Unknown()
    if given is None:
        return Foreign()
    if not isinstance(given, dict):
        return Unknown()
    message = _lowered(given)
    return _action(message.get("action"), message.get("body"))


def _action(action: object, body: object) -> Action:
    if action is None or action == "":
        return Foreign()
    if action == "secret":
        return _secret(body)
    if action in ("subscribe", "unsubscribe"):
        return _about_key(str(action), body)
    return Unknown()


def _secret(body: Any) -> Action:
    if body is None:
        return Secret("")
    return Secret(body) if isinstance(body, str) else Malformed("a secret is text")


def _about_key(action: str, body: Any) -> Action:
    if not isinstance(body, dict):
        return Malformed("a body is an object with entity and id")
    members = _lowered(body)
    try:
        key = EntityKey(
            check_entity(members.get("entity", "")),  # type: ignore[arg-type]
            check_id(members.get("id", "")),  # type: ignore[arg-type]
        )
    except GrammarError as error:
        return Malformed(str(error))
    return Subscribe(key) if action == "subscribe" else Unsubscribe(key)


def _lowered(given: dict[str, Any]) -> dict[str, object]:
    return {name.lower(): value for name, value in given.items()}


def encode_notice(key: EntityKey) -> dict[str, str]:
    """Make the body of a change notice, which carries the key and nothing else."""
    return {"entity": key.entity, "id": key.id}


def parse_notice(data: bytes) -> EntityKey | None:
    """Read the body of a change notice; None if it is none."""
    try:
        given = codec.decode(data)
        return EntityKey(check_entity(given["entity"]), check_id(given["id"]))
    except (GrammarError, KeyError, TypeError, ValueError):
        return None
