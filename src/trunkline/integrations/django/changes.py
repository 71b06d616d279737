"""Django's models tell of changed entities by themselves: each save leaves a notice beside it.

tell_changes(line, {Item: "items"})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models.signals import m2m_changed, post_delete, post_save

if TYPE_CHECKING:
    from trunkline.app import Trunkline
    from trunkline.sync import Trunkline as SyncTrunkline

#: The kind of entity, or that and a function from an object to the ids that change with it.
Told = str | tuple[str, Callable[[Any], Any]]


def tell_changes(
    line: Trunkline | SyncTrunkline, models: Mapping[type, Told]
) -> Callable[[], None]:
    """Have every save and delete of a model's objects tell that its entities changed.

    Within ``atomic`` (or ATOMIC_REQUESTS) they are told of the commit, and only then; without it
    the notice is a transaction of its own right after the save's. What a queryset updates sends
    no signals: call :meth:`Trunkline.changed_in` beside it.

    Args:
        line: The line; its outbox must be in the models' database.
        models: By model the kind of entity, whose id is the primary key; or the kind and a
            function that gives an object's id, or a list of ids.

    Returns:
        A function that ends it.
    """

    def tell(sender: type, instance: Any, using: str, **_: Any) -> None:
        told = models.get(sender)
        if told is not None:
            _tell(line, instance, told, using)

    def tell_related(instance: Any, action: str, using: str, **_: Any) -> None:
        told = models.get(type(instance))
        if told is not None and action.startswith("post_"):
            _tell(line, instance, told, using)

    post_save.connect(tell, weak=False)
    post_delete.connect(tell, weak=False)
    m2m_changed.connect(tell_related, weak=False)

    def end() -> None:
        post_save.disconnect(tell)
        post_delete.disconnect(tell)
        m2m_changed.disconnect(tell_related)

    return end


def _tell(line: Trunkline | SyncTrunkline, instance: Any, told: Told, using: str) -> None:
    entity, ids = (told, instance.pk) if isinstance(told, str) else (told[0], told[1](instance))
    found = ids if isinstance(ids, list) else [ids]
    line.changed_in(connections[using], entity, *found)
