"""What follows from the log: the eventual handlers of a line, as its durable consumers.

Each is a consumer of its own, so that one that fails or is slow keeps nobody else from working. It
has the handler's name; a service ``consumer:<domain>.<handler>`` runs it wherever the profile says
so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from trunkline.channels.consumer import ConsumerOptions
from trunkline.channels.wing import Premises
from trunkline.cqrs.causes import Causes
from trunkline.cqrs.event_channels import (
    EventChannels,
    channels_by_domain,
    channels_consumer,
)
from trunkline.cqrs.handler import Handler, Role
from trunkline.cqrs.hearing import EVENTS, Hearing
from trunkline.cqrs.naming import Naming, versioned
from trunkline.cqrs.projection_build import Yard
from trunkline.cqrs.projections import Projections
from trunkline.cqrs.reaction import BATCH, Reaction
from trunkline.cqrs.routes import RouteTable, route_table
from trunkline.cqrs.traces import Listener, Sources, Traces
from trunkline.cqrs.waiting import Waiter, Waiting
from trunkline.errors import ConfigError, TrunklineError
from trunkline.log.joint import JointLog
from trunkline.runtime.loops import repeat, supervise
from trunkline.runtime.service import Service
from trunkline.store.consumer_table import ConsumerTable
from trunkline.store.projection_table import ProjectionTable
from trunkline.store.trace_table import TraceTable

if TYPE_CHECKING:
    from trunkline.cqrs.catalog import Catalog
    from trunkline.cqrs.result import Result
    from trunkline.cqrs.wing import Commands

logger = logging.getLogger(__name__)

#: Seconds between two looks for traces to forget.
FORGET_EVERY = 3600.0
#: The roles whose handlers may hear events from the log.
LISTENING = frozenset({Role.PROJECTOR, Role.DISPATCHER, Role.PROCESSOR})


class Followers:
    """Be the wing that runs eventual handlers.

    Args:
        premises: What it works with.
        commands: The wing where they are registered.
    """

    def __init__(self, premises: Premises, commands: Commands) -> None:
        self._premises = premises
        self._commands = commands
        self._reactions: dict[str, Reaction] = {}
        self._channels: dict[str, EventChannels] = {}
        self.projections = Projections(self._handlers, self._yard, premises.bus.be_ready)
        self._causes = Causes(premises.bus, self._log, self._traces)
        self._causes.declare()
        sources = Sources(
            self._traces,
            self._log,
            self._listeners,
            lambda: premises.bus.consumers,
            premises.bus.be_ready,
        )
        self.traces = Traces(self._causes, commands.tracer, sources)

    # -- living -------------------------------------------------------------------------------

    async def open(self) -> None:
        """Declare a consumer for each eventual handler, and see to the tables of projections.

        Raises:
            ConfigError: One makes no sense as a consumer.
            ProjectionVersionError: Tables and code are of versions that can't work together.
        """
        self.declare()
        tracer, table = self._commands.tracer, self._traces()
        tracer.whole = {domain.name for domain in self._commands.domains if domain.trace}
        await self.projections.open()
        self._premises.run("traces", partial(supervise, "traces", partial(tracer.write, table)))
        forget = partial(tracer.forget, table)
        self._premises.run("old traces", partial(repeat, "old traces", forget, every=FORGET_EVERY))

    async def close(self) -> None:
        """Write the traces that are left."""
        try:
            await self._commands.tracer.flush(self._traces())
        except TrunklineError as error:
            logger.warning("the last traces can't be written: %s", error)

    def services(self) -> Sequence[Service]:
        """Return what a worker runs beside the consumers."""
        return self.projections.services()

    def declare(self) -> None:
        """Declare consumers for the eventual handlers that have none yet. Idempotent.

        Raises:
            ConfigError: One makes no sense as a consumer.
        """
        for handler in self._handlers():
            if is_eventual(handler) and handler.name not in self._reactions:
                self._reactions[handler.name] = self._declare(handler)
        for domain, handlers in channels_by_domain(self._handlers()).items():
            if domain not in self._channels:
                self._channels[domain] = self._declare_channels(domain, handlers)

    def _declare_channels(self, domain: str, handlers: Iterable[Handler]) -> EventChannels:
        channels = EventChannels(domain, handlers, self.catalog, lambda: self._premises.log)
        channels.note = self._commands.tracer.note_run
        self._premises.bus.consume_records(
            channels.consumer, EVENTS, channels.take, wants=channels.wants, group=domain
        )
        return channels

    def _declare(self, handler: Handler) -> Reaction:
        reaction = self._reaction(handler, handler.naming)
        takes_lists = handler.signature.is_batch
        self._premises.bus.consume_records(
            consumer_name(handler),
            EVENTS,
            reaction.take_list if takes_lists else reaction.take,
            wants=reaction.hearing.wants,
            group=handler.domain.name,
            **_options(handler),
        )
        return reaction

    def _reaction(self, handler: Handler, naming: Naming | None) -> Reaction:
        reaction = Reaction(handler, self.catalog, self._commands.react, naming=naming)
        reaction.note = self._commands.tracer.note_run
        return reaction

    def _log(self) -> JointLog:
        return self._premises.store.joint

    def _traces(self) -> TraceTable:
        return TraceTable(self._log().database)

    def _listeners(self) -> Iterable[Listener]:
        """Return who hears events, strong ones too, with their consumers' names."""
        for handler in self._handlers():
            if handler.enabled and handler.role in LISTENING:
                reaction = self._reactions.get(handler.name)
                hearing = reaction.hearing if reaction else Hearing(handler, self.catalog)
                yield handler, hearing, consumer_name(handler)
            elif handler.enabled and handler.role is Role.CHANNEL:
                consumer = channels_consumer(handler.domain.name)
                yield handler, Hearing(handler, self.catalog), consumer

    def _handlers(self) -> Iterable[Handler]:
        return self._commands.plan.handlers.values()

    def _yard(self) -> Yard:
        premises = self._premises
        log = self._log()
        database = log.database
        return Yard(
            bus=premises.bus,
            log=log,
            table=ProjectionTable(database),
            consumers=ConsumerTable(database),
            clock=premises.clock,
            reaction=self._reaction,
        )

    def catalog(self) -> Catalog:
        """Return the catalogue of events as it is now."""
        return self._commands.plan.catalog

    # -- looking ------------------------------------------------------------------------------

    def routes(self) -> RouteTable:
        """Return who hears what, as it was registered and overridden.

        Raises:
            ConfigError: What was registered makes no sense.
        """
        return route_table(self._handlers())

    def handler(self, one: Any) -> Handler:
        """Return an eventual handler.

        Args:
            one: The function that was registered, its name, or its name within its domain.

        Raises:
            ConfigError: There is none, or it isn't eventual.
        """
        found = [
            handler
            for handler in self._handlers()
            if one is handler or one is handler.function or one == handler.name
        ]
        if isinstance(one, str) and not found:
            names = self._commands.plan.handlers
            found = [names[name] for name in names if name.partition(".")[2] == one]
        if not found:
            raise ConfigError(f"{one!r} is no handler: register it before the line opens")
        return found[0]

    # -- waiting ------------------------------------------------------------------------------

    async def wait(self, handlers: Iterable[Any], result: Result, timeout: float) -> None:
        """Wait until eventual handlers are done with what a command came to.

        Args:
            handlers: Functions or names; strong ones and those that hear none of it are done.
            result: What the command came to, committed.
            timeout: Seconds.

        Raises:
            NotFollowedError: One failed, is stopped, or was not done in time; the command's
                events are stored all the same.
        """
        waits = []
        for one in handlers:
            handler = self.handler(one)
            reaction = self._reactions.get(handler.name)
            if reaction is None:
                continue
            heard = [event for event in result.events if reaction.hearing.hears(event)]
            if heard and result.position is not None:
                waits.append(Waiting(consumer_name(handler), tuple(one.position for one in heard)))
        if waits and result.position is not None:
            waiter = Waiter(self._premises.bus.consumers, self._premises.clock)
            await waiter.wait(waits, result.position.epoch, timeout)


def is_eventual(handler: Handler) -> bool:
    """Tell whether a handler hears events from the log."""
    return handler.enabled and not handler.is_strong and handler.role in LISTENING


def consumer_name(handler: Handler) -> str:
    """Return the name of a handler's consumer: its own, and a version from the second on."""
    return versioned(handler.name, handler.version)


def _options(handler: Handler) -> ConsumerOptions:
    options: ConsumerOptions = {"start": handler.start}
    if handler.retry is not None:
        options["retry"] = handler.retry
    if handler.key is not None:
        key = handler.key
        options["key"] = key if callable(key) else lambda message: str(message.data[key])
    if handler.signature.is_batch:
        options["batch"] = BATCH
    return options
