"""Who is listening: what an application's identity hook says about a request."""

from __future__ import annotations

from typing import Final

import msgspec

Id = str | int


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Describe who is behind a connection.

    Args:
        user_id: The user, or None for nobody in particular.
        group_ids: The groups the user is in.
        site_id: The tenant the connection belongs to.
        is_admin: Whether the operator's pages are open to it.
        expires_at: When this answer must be asked for again, Unix seconds; None for never.
    """

    user_id: Id | None = None
    group_ids: frozenset[Id] = frozenset()
    site_id: str | None = None
    is_admin: bool = False
    expires_at: float | None = None


ANONYMOUS: Final = Identity()


class Viewer:
    """Be an identity together with its client id, prepared for fast comparison.

    Args:
        identity: What the identity hook returned.
        client_id: The client's own id, or None.
        strict: Whether ids compare by type too, as message_bus does (1 is not "1").
    """

    __slots__ = ("client_id", "groups", "identity", "strict", "user")

    def __init__(self, identity: Identity, client_id: str | None, *, strict: bool) -> None:
        self.identity = identity
        self.client_id = client_id
        self.strict = strict
        if strict:
            self.user = identity.user_id
            self.groups: frozenset[Id] = identity.group_ids
        else:
            self.user = None if identity.user_id is None else str(identity.user_id)
            self.groups = frozenset(map(str, identity.group_ids))

    def __repr__(self) -> str:
        return f"<Viewer user={self.identity.user_id!r} client={self.client_id!r}>"
