"""Celery: handlers of messages and events run as tasks, and signals travel as tasks.

For those who must: a durable consumer that Trunkline's own worker runs keeps the order, and its
effects are exactly-once. A task runs at least once, in any order, under an id that is the same
each time. The line is one of :mod:`trunkline.sync`, which prefork workers may share.

tasks = LineTasks(app, line)

@line.consumer("mails", "/orders")
@tasks.handler
def mail(message: Message) -> None: ...
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final, get_type_hints

import msgspec

from trunkline.cqrs.command import Command, Recorded
from trunkline.errors import ConfigError
from trunkline.model.message import Message
from trunkline.sync import Trunkline
from trunkline.webhooks.celery import PERSISTENT, TASK, CeleryApp, celery_demuxer
from trunkline.webhooks.demuxer import JobDemuxer

__all__ = ["LineTasks", "transmissions"]

PREFIX: Final = "trunkline.handler."
Handler = Callable[[Any], Any]


def transmissions(app: CeleryApp, line: Trunkline, *, name: str = TASK) -> type[JobDemuxer]:
    """Return a demuxer that has signals resolved and sent by tasks, and register the task.

    Args:
        app: The Celery application.
        line: The line; set its ``webhooks`` setting ``demuxer`` to the result's import string,
            or a signal's own ``demuxer`` to the result.
        name: The task's name.
    """

    def do(job: dict[str, Any]) -> None:
        line.webhooks.work(job)

    return celery_demuxer(app, lambda: line.asynchronous, name=name, do=do)


class LineTasks:
    """Make tasks of handlers.

    Args:
        app: The Celery application.
        line: The line.
        **options: Celery's options for all tasks; by default they are tried until they succeed.
    """

    def __init__(self, app: CeleryApp, line: Trunkline, **options: Any) -> None:
        self._app = app
        self._line = line
        self._options: Mapping[str, Any] = {**PERSISTENT, **options}

    def handler(self, function: Handler) -> Callable[..., Awaitable[None]]:
        """Make a task of a handler; a decorator below ``line.consumer`` or ``line.processor``.

        The handler takes a :class:`trunkline.Message`, or an event by its annotation; it is
        plain, and runs in a worker of Celery's, where it may use the line. Commands that it
        returns are sent there, each under a key of its own. Take eventual processors alone: a
        task that is queued within a command's transaction is not undone with it.

        Args:
            function: The handler.

        Returns:
            What queues the task.

        Raises:
            ConfigError: Its first parameter has no type that JSON can be made of.
        """
        kind = _kind_of(function)
        # Without the module, which is another one where it is run as a script.
        name = PREFIX + function.__qualname__
        self._app.task(self._work(function, kind), name=name, bind=True, **self._options)
        return (
            _messages(self._queue(name))
            if kind is Message
            else _events(function, self._queue(name), kind)
        )

    def _work(self, function: Handler, kind: Any) -> Callable[[Any, Any], None]:
        @wraps(function)
        def work(task: Any, given: Any) -> None:
            found = function(msgspec.convert(given, kind, strict=False))
            for number, command in enumerate(_commands(found)):
                self._line.send(command, key=f"{task.request.id}:{number}")

        return work

    def _queue(self, name: str) -> Callable[[Any, str], Awaitable[None]]:
        async def queue(subject: Any, ident: str) -> None:
            given = msgspec.to_builtins(subject)
            await asyncio.to_thread(
                self._app.send_task, name, [given], task_id=f"{name}:{ident}", serializer="json"
            )

        return queue


def _messages(queue: Callable[[Any, str], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def hand_on(message: Message) -> None:
        await queue(message, str(message.global_id))

    return hand_on


def _events(
    function: Handler, queue: Callable[[Any, str], Awaitable[None]], kind: Any
) -> Callable[..., Awaitable[None]]:
    async def hand_on(event: Any, recorded: Recorded[Any]) -> None:
        await queue(event, recorded.id)

    hand_on.__annotations__["event"] = kind
    hand_on.__qualname__ = hand_on.__name__ = function.__qualname__
    return hand_on


def _kind_of(function: Handler) -> Any:
    names = list(inspect.signature(function).parameters)
    hints = get_type_hints(function)
    kind = hints.get(names[0]) if len(names) == 1 else None
    if kind is None or inspect.iscoroutinefunction(function):
        raise ConfigError(
            f"{function.__qualname__} can't be a task: make it a plain function of one parameter "
            "that is annotated with Message or an event's type"
        )
    return kind


def _commands(found: Any) -> list[Command]:
    if found is None:
        return []
    if isinstance(found, Command):
        return [found]
    return [one for one in found if one is not None]
