"""SQLAlchemy tells of changed entities by itself: each flush leaves the notices in its transaction.

tell_changes(line, {Item: "items"})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from trunkline.errors import ConfigError

if TYPE_CHECKING:
    from trunkline.app import Trunkline

#: The kind of entity, or that and a function from an object to the ids that change with it.
Told = str | tuple[str, Callable[[Any], Any]]


def tell_changes(
    line: Trunkline, models: Mapping[type, Told], *, sessions: Any = Session
) -> Callable[[], None]:
    """Have every flush of a model's objects tell that its entities changed, if it is committed.

    It hears what the unit of work writes. Statements that update or delete by a condition name no
    objects: call :meth:`Trunkline.changed` beside them.

    Args:
        line: The line; its outbox must be in the sessions' database.
        models: By mapped class (its subclasses too) the kind of entity, whose id is the primary
            key; or the kind and a function that gives an object's id, or a list of ids, such as
            those of the order that a line belongs to.
        sessions: A Session class or sessionmaker (an async one's sync_session_class); all
            sessions by default.

    Returns:
        A function that ends it.

    Raises:
        ConfigError: A class is not mapped, or its primary key is of several columns.
    """
    for model, told in models.items():
        _check(model, told)

    def after_flush(session: Session, flushed: Any) -> None:
        changed: dict[str, dict[Any, None]] = {}
        for one in (*session.new, *session.dirty, *_deleted(flushed)):
            if one in session.dirty and not session.is_modified(one):
                continue
            for entity, ids in _entities(one, models):
                changed.setdefault(entity, {}).update(dict.fromkeys(ids))
        for entity, found in changed.items():
            line.changed_in(session, entity, *found)

    event.listen(sessions, "after_flush", after_flush)
    return lambda: event.remove(sessions, "after_flush", after_flush)


def _deleted(flushed: Any) -> list[Any]:
    """Return what a flush deleted; orphans are in no list of the session's."""
    states = flushed.states.items()
    return [state.obj() for state, (is_delete, is_listed) in states if is_delete and not is_listed]


def _check(model: type, told: Told) -> None:
    mapper: Any = inspect(model, raiseerr=False)
    if mapper is None or not hasattr(mapper, "primary_key"):
        raise ConfigError(f"{model.__qualname__} is no mapped class")
    if isinstance(told, str) and len(mapper.primary_key) != 1:
        raise ConfigError(
            f"the primary key of {model.__qualname__} has several columns: say "
            f"({told!r}, function) where the function makes one id of an object"
        )


def _entities(one: Any, models: Mapping[type, Told]) -> list[tuple[str, list[Any]]]:
    found: list[tuple[str, list[Any]]] = []
    for model, told in models.items():
        if not isinstance(one, model):
            continue
        if isinstance(told, str):
            mapper: Any = inspect(model)
            found.append((told, [mapper.primary_key_from_instance(one)[0]]))
        else:
            entity, ids_of = told
            ids = ids_of(one)
            found.append((entity, ids if isinstance(ids, list) else [ids]))
    return found
