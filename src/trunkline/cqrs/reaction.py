"""An eventual handler at work: events of the log, each in the transaction of its checkpoint.

What it writes, what it sends and how far it has come are committed together, so each event takes
effect exactly once, whatever crashes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Protocol

from trunkline.channels.transaction import LineTransaction
from trunkline.cqrs.calling import called
from trunkline.cqrs.catalog import Catalog
from trunkline.cqrs.command import Recorded
from trunkline.cqrs.context import Context, Origin
from trunkline.cqrs.decision import outcomes
from trunkline.cqrs.errors import HandlerError, ProjectionError
from trunkline.cqrs.handler import Handler, Role
from trunkline.cqrs.hearing import Heard, Hearing
from trunkline.cqrs.naming import Naming
from trunkline.errors import ConfigError, TrunklineError, UsageError
from trunkline.model.message import Record

#: Events of a list, for handlers that take lists.
BATCH = 1000


Note = Callable[[str, Recorded[Any], float, BaseException | None], None]


class React(Protocol):
    """Run a handler that may send commands or derive events."""

    def __call__(
        self, handler: Handler, heard: Heard, site_id: str | None, tx: LineTransaction
    ) -> Awaitable[None]:
        """Run it, and what follows from it, inside a transaction."""


class Reaction:
    """Run one handler on committed events.

    Args:
        handler: The handler.
        catalog: Finds the catalogue of events.
        react: Runs those that do more than write.
        naming: Names a projector's tables; the live ones if not given.
    """

    def __init__(
        self,
        handler: Handler,
        catalog: Callable[[], Catalog],
        react: React,
        *,
        naming: Naming | None = None,
    ) -> None:
        self.handler = handler
        self.hearing = Hearing(handler, catalog)
        self._catalog = catalog
        self._react = react
        self._naming = naming or handler.naming
        if handler.signature.is_batch and handler.role is not Role.PROJECTOR:
            raise ConfigError(
                f"{handler.name} takes a list: only projectors do, for each event that leads to "
                "commands or events is their cause"
            )
        self._only_writes = handler.role is Role.PROJECTOR
        #: Told what became of an event, and how long that took.
        self.note: Note | None = None
        self._wants_ctx = handler.signature.wants("ctx")

    async def take(self, record: Record, tx: LineTransaction) -> None:
        """Handle one event.

        Raises:
            TrunklineError: It can't be decoded, or the handler failed.
        """
        heard = self.hearing.heard(record)
        began = perf_counter()
        failure: Exception | None = None
        try:
            if self._only_writes:
                await self._project(heard, record, self._bound(tx))
            else:
                await self._react(self.handler, heard, record.channel.site_id, tx)
        except Exception as error:
            failure = error
            raise
        finally:
            if self.note is not None:
                self.note(self.handler.name, heard.recorded, perf_counter() - began, failure)

    async def project(self, records: Sequence[Record], tx: LineTransaction) -> int:
        """Have a projector handle those events of a page that it hears.

        Returns:
            How many.

        Raises:
            ProjectionError: One can't be decoded, or the projector failed on it.
        """
        if self.handler.signature.is_batch:
            return await self._project_list(records, tx)
        bound, catalog, hear = self._bound(tx), self._catalog(), self.hearing.hear
        count = 0
        for record in records:
            try:
                heard = hear(record, catalog)
                if heard is not None:
                    await self._project(heard, record, bound)
                    count += 1
            except Exception as error:
                raise self._stopped(record, error) from error
        return count

    async def _project_list(self, records: Sequence[Record], tx: LineTransaction) -> int:
        wanted = [record for record in records if self.hearing.wants(record)]
        if wanted:
            try:
                await self.take_list(wanted, tx)
            except Exception as error:
                raise self._stopped(wanted[0], error) from error
        return len(wanted)

    def _stopped(self, record: Record, error: Exception) -> ProjectionError:
        return ProjectionError(
            f"{self.handler.name} can't be built: it fails on event {record.message_id} of "
            f"{record.channel.name} (global id {record.global_id}): {error}"
        )

    async def _project(self, heard: Heard, record: Record, tx: LineTransaction) -> None:
        recorded = heard.recorded
        supplies: dict[str, Any] = {"tx": tx, "recorded": recorded}
        if self._wants_ctx:
            supplies["ctx"] = _context(recorded, record)
        await self._call(recorded.event, recorded.name, heard.params, supplies)

    async def take_list(self, records: Sequence[Record], tx: LineTransaction) -> None:
        """Handle several events in one call.

        Raises:
            TrunklineError: One can't be decoded, or the handler failed.
        """
        found: list[Recorded[Any]] = [self.hearing.heard(record).recorded for record in records]
        supplies = {"tx": self._bound(tx), "recorded": found}
        subject = f"{len(found)} events from {found[0].name} on"
        await self._call([one.event for one in found], subject, {}, supplies)

    def _bound(self, tx: LineTransaction) -> LineTransaction:
        return tx if self._naming is None else self._naming.on(tx)

    async def _call(self, subject: Any, name: str, params: Any, supplies: dict[str, Any]) -> None:
        handler = self.handler
        try:
            value = await called(handler, subject, params, supplies)
        except TrunklineError:
            raise
        except Exception as error:
            raise HandlerError(handler.role, handler.name, name, error) from error
        if value is not None and outcomes(value)[0]:
            raise UsageError(
                f"the projector {handler.name} gave back events or commands: let a dispatcher or "
                "a processor do that"
            )


def _context(recorded: Recorded[Any], record: Record) -> Context:
    """Return what is known of the command that led to an event."""
    header, site_id = recorded.headers, record.channel.site_id
    origin = Origin(None, header.actor, site_id, header.correlation, header.causation)
    return Context(header.command, recorded.name, header.domain, origin)
