"""The line as those see it whose screens show entities: how to fetch one, and that it changed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from trunkline.channels.wing import WingedBus

if TYPE_CHECKING:  # scripts that watch nothing need none of it
    from trunkline.entities.declaration import EntityOptions
    from trunkline.entities.passing import Receiver
    from trunkline.entities.wing import Entities

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])
R = TypeVar("R", bound="Receiver")


class EntitiesFace(WingedBus):
    """Declare entities, and tell that they changed."""

    @property
    @abstractmethod
    def entity_prefix(self) -> str:
        """Return the setting that keeps applications on one engine apart."""

    @cached_property
    def entities(self) -> Entities:
        """Return the wing."""
        from trunkline.entities.wing import Entities

        return self.add_wing(partial(Entities, prefix=lambda: self.entity_prefix))

    def entity(self, name: str, **options: Unpack[EntityOptions]) -> Callable[[F], F]:
        """Declare how a kind of entity is fetched; a decorator for a coroutine function.

        It is called with an :class:`trunkline.entities.EntityKey` and the
        :class:`trunkline.entities.Viewer` who looks, and returns what that viewer may see: a JSON
        value, a list of several rows (a :class:`trunkline.entities.Row` may belong to another
        entity), or None for "not there, or not yours". It may raise
        :class:`trunkline.errors.AccessDeniedError`.

        Args:
            name: The kind, such as ``items``.
            **options: See :class:`trunkline.entities.declaration.EntityOptions`.

        Returns:
            The decorator; it returns the function unchanged.

        Raises:
            ConfigError: The kind is declared already, or something makes no sense.
        """

        def declare(function: F) -> F:
            self.entities.declarations.add(name, function, options)
            return function

        return declare

    async def changed(self, entity: str, *ids: Any, tx: Any = None) -> None:
        """Tell that entities changed, so that everybody who watches them is shown what is now.

        Args:
            entity: The kind.
            *ids: Which: texts, integers or UUIDs.
            tx: The transaction that changes them: one of :meth:`transaction`, or a guest as for
                :meth:`publish`. They are told of its commit, and only then. Without one, call
                it after the commit.

        Raises:
            UnknownEntityError: No such kind is declared on this line.
            GrammarError: An id is none.
            LogError: It could not be stored.
        """
        await self.entities.tell(entity, ids, tx)

    def changed_in(self, tx: Any, entity: str, *ids: Any) -> None:
        """Tell that entities change, inside a synchronous transaction, from any thread.

        Args:
            tx: As for :meth:`publish_in`.
            entity: The kind.
            *ids: Which.

        Raises:
            UsageError: The kind is not declared, an id is none, or *tx* is no such transaction.
        """
        self.entities.tell_now(tx, entity, ids)

    def on_client_message(self, function: R) -> R:
        """Hand messages of clients that are not Trunkline's to a coroutine function; a decorator.

        On ``/ws`` they are JSON objects without a type, on entity-sync's socket those without an
        action; the setting ``entity_pass_unknown`` adds all that is not understood.

        Args:
            function: Called with a :class:`trunkline.entities.passing.ClientMessage`, outside the
                connection's reading; it may reply. One message of a client after the other.

        Returns:
            The function, unchanged.

        Raises:
            ConfigError: There is one already.
        """
        self.entities.receive_with(function)
        return function
