"""The line as those see it who send commands; the line itself is the domain called ``main``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from trunkline.cqrs.saga_face import SagaFace

if TYPE_CHECKING:  # a wing is imported when it is asked for: scripts need none
    from trunkline.cqrs.command import Command, Event
    from trunkline.cqrs.context import Origin
    from trunkline.cqrs.domain import Domain, Subject
    from trunkline.cqrs.entry import Entries, EntryAccess
    from trunkline.cqrs.handler import HandlerOptions
    from trunkline.cqrs.result import Result
    from trunkline.cqrs.sending import EnqueueOptions, OriginOptions, SendOptions
    from trunkline.cqrs.told import Told
    from trunkline.cqrs.wing import Commands

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)


class CommandFace(SagaFace):
    """Send commands, and declare who decides them and who hears their events."""

    @cached_property
    def commands(self) -> Commands:
        """Return the wing that runs commands."""
        from trunkline.cqrs.followers import Followers
        from trunkline.cqrs.wing import Commands

        wing = self.add_wing(Commands)
        wing.followers = self.add_wing(lambda premises: Followers(premises, wing))
        return wing

    def domain(self, name: str, **options: Any) -> Domain:
        """Return a domain: a named group of commands and handlers, made when the name is new.

        Args:
            name: A word without dots.
            **options: ``trace=True`` keeps every trace; ``handlers={name: {…}}`` overrides
                priority, consistency, retry and enabled; ``legacy_wildcards=True``.

        Raises:
            ConfigError: The name is none, or options are given twice.
        """
        return self.commands.domain(name, **options)

    def command(self, kind: type, **options: Any) -> Callable[[F], F]:
        """Declare who decides a command; see :meth:`Domain.command`."""
        return self.commands.main.command(kind, **options)

    def aggregate(self, name: str | None = None, **options: Any) -> Callable[[C], C]:
        """Declare the type of an aggregate's state; see :meth:`Domain.aggregate`."""
        return self.commands.main.aggregate(name, **options)

    def evolve(self, function: F) -> F:
        """Declare how an event changes a state; see :meth:`Domain.evolve`."""
        return self.commands.main.evolve(function)

    def event(self, *kinds: type[Event]) -> None:
        """Make event types known that no handler names."""
        self.commands.main.event(*kinds)

    def before(self, *patterns: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare a hook before saga steps; see :meth:`Domain.before`."""
        return self.commands.main.before(*patterns, **options)

    def after(self, *patterns: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare a hook after saga steps; see :meth:`Domain.after`."""
        return self.commands.main.after(*patterns, **options)

    def projector(self, *subjects: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare who keeps a read model; see :meth:`Domain.projector`."""
        return self.commands.main.projector(*subjects, **options)

    def dispatcher(self, *subjects: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare who derives events from events; see :meth:`Domain.dispatcher`."""
        return self.commands.main.dispatcher(*subjects, **options)

    def processor(self, *subjects: Subject, **options: Unpack[HandlerOptions]) -> Callable[[F], F]:
        """Declare who answers events with commands; see :meth:`Domain.processor`."""
        return self.commands.main.processor(*subjects, **options)

    @cached_property
    def entries(self) -> Entries:
        """Return what clients may have run over HTTP."""
        from trunkline.cqrs.entry import Entries

        return Entries()

    def expose(
        self,
        kind: type,
        *,
        access: EntryAccess | None = None,
        open: bool = False,  # noqa: A002 - the word an application says
        name: str | None = None,
        summary: str = "",
    ) -> None:
        """Let clients send a command: ``POST /api/commands/{name}`` with its fields as JSON.

        Args:
            kind: The command's type.
            access: Called with the identity and the command; True lets it be sent.
            open: Say True to do without, so that everybody whom the gateway knows may send it.
            name: Its part of the path; the stored name if not given.
            summary: What it is for, in a sentence, for the OpenAPI document.

        Raises:
            ConfigError: Neither access= nor open=True is said, or the name is taken.
        """
        from trunkline.cqrs.command import stored
        from trunkline.cqrs.entry import Entry
        from trunkline.errors import ConfigError

        if access is None and not open:
            raise ConfigError(
                f"who may send {kind.__name__}? Say access=, or open=True for all who are known"
            )
        own = name or stored(kind).name
        self.entries.add(Entry(own, kind, self._run_entry, access, summary))

    async def _run_entry(self, command: Command, origin: Origin) -> Told:
        wing = self.commands
        await self.be_ready()
        return (await wing.send(command, origin)).told()

    async def send(self, command: Command, **options: Unpack[SendOptions]) -> Result:
        """Run a command, and return when all it came to is durable.

        Args:
            command: The command.
            **options: See :class:`SendOptions`.

        Returns:
            What it came to.

        Raises:
            CommandError: It is unknown, invalid or refused, or a handler failed; nothing was
                stored.
            ConflictError: Others were quicker too often, or the key was used for another
                command.
            LogError: The database failed.
        """
        wing = self.commands
        await self.be_ready()
        result = await wing.send(command, self._origin(options), tx=options.get("tx"))
        if wait := options.get("wait"):
            await wing.followers.wait(wait, result, options.get("timeout", 10.0))
        return result

    async def send_many(
        self, commands: Sequence[Command], **options: Unpack[OriginOptions]
    ) -> Result:
        """Run several commands in one transaction, all or none, each seeing those before it.

        Args:
            commands: The commands, of one kind or several.
            **options: See :class:`OriginOptions`; the key is the whole batch's.

        Returns:
            What all of them came to.

        Raises:
            CommandError: As for :meth:`send`; nothing was stored.
            ConflictError: As for :meth:`send`.
            LogError: The database failed.
        """
        wing = self.commands
        await self.be_ready()
        return await wing.send_many(commands, self._origin(options))

    async def enqueue(self, command: Command, **options: Unpack[EnqueueOptions]) -> str:
        """Leave a command for a worker, who runs it once, after the commit it is left in.

        Args:
            command: The command.
            **options: See :class:`EnqueueOptions`.

        Returns:
            The key it will run under, made if none was given.

        Raises:
            CommandError: It is unknown or invalid.
            UsageError: It is no transaction that we know.
        """
        wing = self.commands
        await self.be_ready()
        return await wing.enqueue(command, self._origin(options), tx=options.get("tx"))

    def enqueue_in(self, tx: Any, command: Command, **options: Unpack[OriginOptions]) -> str:
        """Leave a command in a synchronous transaction, from synchronous code, in any thread.

        Args:
            tx: As for :meth:`publish_in`.
            command: The command.
            **options: See :class:`OriginOptions`.

        Returns:
            The key it will run under, made if none was given.

        Raises:
            CommandError: It is unknown or invalid.
            UsageError: It is no synchronous transaction that we know.
        """
        return self.commands.enqueue_now(command, self._origin(options), tx=tx)

    def _origin(self, options: OriginOptions) -> Origin:
        from trunkline.cqrs.context import Origin

        site_id = options.get("site_id")
        site = self._site() if site_id is None else site_id
        return Origin(options.get("key"), options.get("actor"), site)
