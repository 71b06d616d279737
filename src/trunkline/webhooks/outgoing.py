"""What stands between the signals and their delivery: a claimed transmission, and its request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from trunkline.errors import TrunklineError
from trunkline.wire.signature import SigningKey


class Transmission(msgspec.Struct, frozen=True, kw_only=True):
    """Be one notice on its way to one endpoint, claimed by this process.

    Args:
        seq: Its number in the store.
        id: The delivery id, the same in every attempt.
        endpoint_id: Where it goes.
        app_id: The app whose endpoint that is, or None.
        tenant: Whose it is, for fairness.
        account_type: Kind of the account.
        account_id: The account, as JSON.
        signal_name: What the app asked for.
        signal_class: The signal's class.
        action: What happened.
        object_id: The object, as JSON, or None.
        context: What was captured when it was fired, as a JSON object.
        body: The body, for what is not read late.
        order_key: Those with the same key go one after another, or None.
        attempts: Attempts made before this one.
        lease_epoch: The claim's fence.
        due_at: When this attempt was due, Unix seconds.
        created_at: When it was queued, Unix seconds.
        expires_at: When it is not wanted any more, Unix seconds, or None.
    """

    seq: int
    id: str
    endpoint_id: str
    app_id: str | None
    tenant: str
    account_type: str
    account_id: str
    signal_name: str
    signal_class: str
    action: str
    object_id: str | None
    context: str
    body: bytes | None
    order_key: str | None
    attempts: int
    lease_epoch: int
    due_at: float
    created_at: float
    expires_at: float | None


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """Be what is sent for a transmission, before it is signed.

    Args:
        url: Where to; the egress guard looks at it.
        body: The bytes; JSON as a rule.
        headers: On top of ours: none of ours, and no ``Host``, ``Content-*`` but the type.
        secrets: All keys that are valid now, the newest first; none for an unsigned request.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = {}
    secrets: tuple[SigningKey, ...] = ()

    def __repr__(self) -> str:
        return f"<Outgoing {len(self.body)} bytes to {self.url}>"


class WithdrawnError(TrunklineError):
    """Report, from a :data:`Prepare`, that this must not be sent any more; it is not an attempt.

    The message is the reason, as operators see it: ``connection revoked``.
    """


#: Called after the claim was committed, so that it reads the latest state. It raises
#: :class:`WithdrawnError` for what must not go out; any other exception is recorded as a failed
#: attempt with the outcome ``payload``.
Prepare = Callable[[Transmission], Awaitable[Outgoing]]

#: Called once for a batch of claimed transmissions, to look up at once whether they may still be
#: sent, where to and how signed; returns what prepares each of them.
PrepareBatch = Callable[[Sequence[Transmission]], Awaitable[Prepare]]


def one_by_one(prepare: Prepare) -> PrepareBatch:
    """Return a :data:`PrepareBatch` that looks nothing up beforehand."""

    async def look_up(transmissions: Sequence[Transmission]) -> Prepare:
        del transmissions
        return prepare

    return look_up
