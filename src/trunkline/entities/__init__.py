"""Entities: subscribe to (entity, id), be pushed its fresh state whenever it changes."""

from trunkline.entities.declaration import Wanted
from trunkline.entities.value import Row
from trunkline.entities.viewer import Viewer
from trunkline.model.entity import EntityKey

__all__ = ["EntityKey", "Row", "Viewer", "Wanted"]
