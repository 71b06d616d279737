"""Who watches, as an application's fetch sees it: an identity, and the secret the client sent."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from trunkline.errors import UnencodableDataError, UsageError
from trunkline.model import codec
from trunkline.model.identity import ANONYMOUS, Id, Identity

MARK_BYTES: Final = 6


class Viewer(msgspec.Struct, frozen=True):
    """Be who an entity's state is fetched for.

    Args:
        identity: What the application's identity hook said about the connection.
        secret: The last secret the client sent, or None.
    """

    identity: Identity = ANONYMOUS
    secret: str | None = None

    @property
    def user_id(self) -> Id | None:
        """Return the identity's user."""
        return self.identity.user_id

    @property
    def group_ids(self) -> frozenset[Id]:
        """Return the identity's groups."""
        return self.identity.group_ids

    @property
    def site_id(self) -> str | None:
        """Return the identity's tenant."""
        return self.identity.site_id

    def __repr__(self) -> str:
        # A secret may end in a log by way of a repr.
        secret = "" if self.secret is None else " with a secret"
        return f"<Viewer {self.identity.user_id!r} of {self.identity.site_id!r}{secret}>"


ScopeOf = Callable[[Viewer], Any]


class Scope(msgspec.Struct, frozen=True):
    """Be what viewers have in common that may share a fetch.

    Args:
        text: The application's value (or all of the viewer) and the tenant, as canonical JSON.
        mark: A short digest of it, for versions.
    """

    text: bytes
    mark: str


def scope_of(viewer: Viewer, ask: ScopeOf | None) -> Scope:
    """Find out with whom a viewer may share a fetch; never with another tenant's viewers.

    Args:
        viewer: The viewer.
        ask: The application's function; without one only viewers that are alike in everything
            share.

    Raises:
        UsageError: What the function returned is no JSON value.
        Exception: Whatever the function raises.
    """
    value = _everything(viewer) if ask is None else ask(viewer)
    try:
        text = codec.encode([viewer.site_id, _ordered(value)])
    except UnencodableDataError as error:
        raise UsageError(f"a scope is a JSON value such as a text or a tuple: {error}") from error
    return Scope(text, blake2b(text, digest_size=MARK_BYTES).hexdigest())


def _everything(viewer: Viewer) -> list[Any]:
    identity = viewer.identity
    return [identity.user_id, identity.group_ids, identity.is_admin, viewer.secret]


def _ordered(value: Any) -> Any:
    """Put sets in an order, for equal scopes must be equal texts."""
    if isinstance(value, (set, frozenset)):
        return sorted((_ordered(one) for one in value), key=codec.encode)
    if isinstance(value, (list, tuple)):
        return [_ordered(one) for one in value]
    return value
