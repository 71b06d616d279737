"""Who may receive a message within its site."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import msgspec

from trunkline.errors import InvalidTargetError
from trunkline.model.identity import Id, Viewer

MAX_TARGETS = 50_000


class Audience(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """Restrict a message to users, groups or clients, or keep some of them out.

    A viewer is admitted when its client is listed (if clients are listed), and its user or one
    of its groups is listed (if users or groups are listed), and nothing of it is excluded:
    the table of message_bus's targeting, with exclusions added.
    """

    user_ids: tuple[Id, ...] | None = None
    group_ids: tuple[Id, ...] | None = None
    client_ids: tuple[str, ...] | None = None
    exclude_user_ids: tuple[Id, ...] | None = None
    exclude_group_ids: tuple[Id, ...] | None = None
    exclude_client_ids: tuple[str, ...] | None = None

    @cached_property
    def _strict(self) -> _Sets:
        return _Sets(self, strict=True)

    @cached_property
    def _loose(self) -> _Sets:
        return _Sets(self, strict=False)

    def admits(self, viewer: Viewer) -> bool:
        """Tell whether *viewer* may receive the message."""
        sets = self._strict if viewer.strict else self._loose
        return sets.admit(viewer)


class _Sets:
    """Hold an audience's lists as sets, once per way of comparing."""

    __slots__ = ("clients", "groups", "no_clients", "no_groups", "no_users", "users")

    def __init__(self, audience: Audience, *, strict: bool) -> None:
        def ids(given: Iterable[Id] | None) -> frozenset[Id]:
            return frozenset(given or ()) if strict else frozenset(map(str, given or ()))

        self.users = ids(audience.user_ids)
        self.groups = ids(audience.group_ids)
        self.clients = frozenset(audience.client_ids or ())
        self.no_users = ids(audience.exclude_user_ids)
        self.no_groups = ids(audience.exclude_group_ids)
        self.no_clients = frozenset(audience.exclude_client_ids or ())

    def admit(self, viewer: Viewer) -> bool:
        if self.clients and viewer.client_id not in self.clients:
            return False
        if (self.users or self.groups) and not (
            (viewer.user is not None and viewer.user in self.users)
            or not self.groups.isdisjoint(viewer.groups)
        ):
            return False
        return not (
            (viewer.client_id is not None and viewer.client_id in self.no_clients)
            or (viewer.user is not None and viewer.user in self.no_users)
            or not self.no_groups.isdisjoint(viewer.groups)
        )


def audience_of(
    *,
    user_ids: Iterable[Id] | None = None,
    group_ids: Iterable[Id] | None = None,
    client_ids: Iterable[str] | None = None,
    exclude_user_ids: Iterable[Id] | None = None,
    exclude_group_ids: Iterable[Id] | None = None,
    exclude_client_ids: Iterable[str] | None = None,
) -> Audience | None:
    """Build an audience from the options of a publish.

    Args:
        user_ids: Users who may receive it.
        group_ids: Groups whose members may receive it.
        client_ids: Clients that may receive it.
        exclude_user_ids: Users kept out.
        exclude_group_ids: Groups kept out.
        exclude_client_ids: Clients kept out (the sender's own, say).

    Returns:
        The audience, or None when nothing restricts the message.

    Raises:
        InvalidTargetError: A list is empty, too long, or holds something that is no id.
    """
    given = {
        "user_ids": user_ids,
        "group_ids": group_ids,
        "client_ids": client_ids,
        "exclude_user_ids": exclude_user_ids,
        "exclude_group_ids": exclude_group_ids,
        "exclude_client_ids": exclude_client_ids,
    }
    lists = {name: _checked(name, ids) for name, ids in given.items() if ids is not None}
    return Audience(**lists) if lists else None  # type: ignore[arg-type]


def _checked(name: str, ids: Iterable[Id]) -> tuple[Id, ...]:
    if isinstance(ids, (str, bytes)):
        raise InvalidTargetError(f"{name} is a list of ids, not {type(ids).__name__}")
    listed = tuple(ids)
    if not listed:
        raise InvalidTargetError(f"{name} is empty: nobody would receive it; leave it out for all")
    if len(listed) > MAX_TARGETS:
        raise InvalidTargetError(
            f"{name} has {len(listed)} ids and at most {MAX_TARGETS} are allowed"
        )
    wanted: tuple[type, ...] = (str,) if name.endswith("client_ids") else (str, int)
    for one in listed:
        if not isinstance(one, wanted) or isinstance(one, bool):
            kinds = " or ".join(kind.__name__ for kind in wanted)
            raise InvalidTargetError(f"{name} holds {one!r}: an id is {kinds}")
    return listed
