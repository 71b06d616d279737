"""A signal that was fired, as it travels: on the line, to job queues, into the tables.

All of it is JSON, so that any queue can carry it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trunkline.errors import UsageError
from trunkline.model import codec
from trunkline.webhooks.keys import Key, key_json, key_of, key_text
from trunkline.webhooks.signal import Signal, checked_action, checked_context
from trunkline.wire.uniqueness import canonical_hash

#: Bytes of a notice at most: what a channel can carry, with room around it.
LARGEST: Final = 1024 * 1024 - 4096


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Be one fired signal; Demux calls this the signal's attributes.

    Args:
        id: Names it.
        signal_name: Which kind of notice.
        signal_class: The class that was fired.
        action: What happened.
        object_id: To what, as JSON that tells the type; None for an object without an id.
        account_type: Kind of the account.
        account_id: Whose notice it is, as JSON that tells the type.
        context: What was captured.
        order_key: Others with it wait for this one; None for no order.
        fired_at: Unix seconds.
    """

    id: str
    signal_name: str
    signal_class: str
    action: str
    object_id: Any
    account_type: str
    account_id: Any
    context: dict[str, Any]
    order_key: str | None = None
    fired_at: float = 0.0

    @property
    def account(self) -> tuple[str, str]:
        """Return whose it is, as the tables have it."""
        return self.account_type, key_text(key_of(self.account_id))

    @property
    def identity(self) -> str | None:
        """Return the hash that equal notices share; None for those that are never equal."""
        if self.object_id is None:
            return None
        return canonical_hash(
            self.account_id,
            self.account_type,
            self.action,
            self.context,
            self.object_id,
            self.signal_name,
        )

    @property
    def object_key(self) -> Key | None:
        """Return the object's id."""
        return None if self.object_id is None else key_of(self.object_id)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values that JSON has."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def notice_of(
    signal: Signal, action: str, context: Mapping[str, Any], *, fired_at: float
) -> Notice:
    """Make a notice of a signal.

    Args:
        signal: What is fired.
        action: What happened.
        context: Captured for this action; goes over the signal's own.
        fired_at: Unix seconds.

    Raises:
        SignalError: The action or the context can't be used.
        UnencodableDataError: The context is no strict JSON.
    """
    object_id = signal.object_id
    given = {**signal.context, **checked_context(context)}
    encoded = codec.encode(given)
    if len(encoded) > LARGEST:
        raise UsageError(
            f"this context has {len(encoded)} bytes and at most {LARGEST} are allowed: keep the "
            "bulk in your database, and read it in the payload"
        )
    return Notice(
        id=secrets.token_hex(16),
        signal_name=signal.signal_name,
        signal_class=type(signal).__name__,
        action=checked_action(signal, action),
        object_id=None if object_id is None else key_json(object_id),
        account_type=signal.account_type,
        account_id=key_json(signal.account_id),
        context=codec.decode(encoded),
        order_key=signal.order_key(),
        fired_at=fired_at,
    )


def notice_from(data: Any) -> Notice:
    """Read a notice that travelled.

    Raises:
        UsageError: It is none.
    """
    try:
        return msgspec.convert(data, Notice)
    except msgspec.ValidationError as error:
        raise UsageError(f"this is no signal: {error}") from error
