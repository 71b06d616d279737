"""From a framework's user to an identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.errors import ConfigError
from trunkline.model.identity import Identity


def identity_of(user: Any) -> Identity | None:
    """Return the identity that a user is.

    Args:
        user: An identity, a user's id, an object or mapping that has one, or None.

    Raises:
        ConfigError: It has no id.
    """
    if user is None or isinstance(user, Identity):
        return user
    if isinstance(user, str | int):
        return Identity(user_id=user)
    return Identity(user_id=ident_of(user))


def ident_of(user: Any) -> str | int:
    """Return a user's id.

    Args:
        user: An object or mapping with ``id``, ``identity``, ``pk`` or ``username``.

    Raises:
        ConfigError: It has none.
    """
    for name in ("id", "identity", "pk", "username"):
        try:
            found = user.get(name) if isinstance(user, Mapping) else getattr(user, name, None)
        except NotImplementedError:  # Starlette's users need not have one
            continue
        if isinstance(found, str | int):
            return found
        if found is not None:
            return str(found)
    raise ConfigError(
        f"a {type(user).__name__} has neither id, identity nor username: return an Identity"
    )
