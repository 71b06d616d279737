"""The errors that only the webhooks room knows."""

from __future__ import annotations

from trunkline.errors import ConflictError, TrunklineError, UsageError


class SignalError(UsageError, ValueError):
    """Report a signal, an action, an id or a context that can't be sent as given."""

    status = 422
    code = "signal"


class UnknownAppError(UsageError, LookupError):
    """Report that there is no such app, connection or transmission."""

    status = 404
    code = "unknown-app"


class TakenError(ConflictError):
    """Report that another app has this indicator or key."""

    code = "taken"


class PayloadError(TrunklineError):
    """Report that a payload could not be made; the cause is chained."""

    code = "payload"


class SecretError(TrunklineError):
    """Report that a stored secret can't be opened: its master key is missing, or not it."""

    code = "secret"


class UnknownPeerError(UsageError, LookupError):
    """Report that there is no such peer, source or subscription."""

    status = 404
    code = "unknown-peer"


class StrangerError(UsageError):
    """Report a request of a service that does not prove who it is.

    The message is the same whatever is wrong, for whoever tries should learn nothing from it.
    """

    status = 401
    code = "unauthenticated"

    def __init__(self) -> None:
        super().__init__("show who you are: sign the request, or send Basic or Bearer credentials")
