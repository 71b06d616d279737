"""Entities: subscribe to (entity, id), be pushed its fresh state whenever it changes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.entities.declaration import Wanted
    from trunkline.entities.passing import ClientMessage
    from trunkline.entities.value import Row
    from trunkline.entities.viewer import Viewer
    from trunkline.model.entity import EntityKey

__all__ = ["ClientMessage", "EntityKey", "Row", "Viewer", "Wanted"]

_HOMES = {
    "ClientMessage": "entities.passing",
    "EntityKey": "model.entity",
    "Row": "entities.value",
    "Viewer": "entities.viewer",
    "Wanted": "entities.declaration",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the line's face alone needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"trunkline.{_HOMES[name]}"), name)
    return found
