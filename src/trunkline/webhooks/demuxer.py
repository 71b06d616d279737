"""Demuxers: how a fired signal becomes transmissions, and who sends those.

Three points may be overridden. ``resolve`` is called after the commit, and may leave the work to
a job queue; ``resolve_now`` queues the transmissions; ``transmit`` has one of them sent, and may
leave that to a job queue too. What they pass on is JSON.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from trunkline.errors import ConfigError
from trunkline.webhooks.notice import Notice


class Works(Protocol):
    """Be what a demuxer works with."""

    async def queue(self, notice: Notice, *, head_start: float) -> Sequence[str]:
        """Queue a notice for those who may hear it; return what waits of it, by delivery id."""

    async def transmit(self, ids: Sequence[str]) -> None:
        """Have queued transmissions sent from here, each tried once; failures are recorded."""

    def poke(self) -> None:
        """Have the delivery look for what is due, if it runs in this process."""


class Demuxer:
    """Resolve signals in the worker, which sends them too.

    Args:
        notice: What was fired.
        works: What it is done with.

    Attributes:
        head_start: Seconds that the worker leaves what is queued to :meth:`transmit`; then it
            sends it itself, so that a job that a queue lost delays and loses nothing.
        is_immediate: Whether it resolves in the process that fired, and not in a worker.
    """

    head_start: ClassVar[float] = 0.0
    is_immediate: ClassVar[bool] = False

    def __init__(self, notice: Notice, works: Works) -> None:
        self.notice = notice
        self.works = works

    @property
    def arguments(self) -> dict[str, Any]:
        """Return what a job needs: ``line.webhooks.work({"resolve": arguments})`` goes on."""
        return self.notice.to_json()

    async def resolve(self) -> None:
        """Begin, right after the commit; may come again after a crash."""
        await self.resolve_now()

    async def resolve_now(self) -> None:
        """Queue one transmission for each app that may hear it, and have each sent."""
        for one in await self.works.queue(self.notice, head_start=self.head_start):
            await self.transmit(one)

    async def transmit(self, delivery_id: str) -> None:
        """Have one transmission sent: by the worker, which takes it as soon as it is queued."""
        del delivery_id
        self.works.poke()


class InlineDemuxer(Demuxer):
    """Send right after the commit, in the process that fired: for trying out, and for tests.

    What fails is recorded like everything else, and not raised; the worker tries it again.
    """

    head_start = 30.0
    is_immediate = True

    async def transmit(self, delivery_id: str) -> None:
        """Send one transmission now."""
        await self.works.transmit([delivery_id])


class JobDemuxer(Demuxer):
    """Leave both steps to a job queue; override :meth:`enqueue`.

    A job is done by ``await line.webhooks.work(job)``, in any process that declares the signals.
    """

    head_start = 60.0

    async def enqueue(self, job: dict[str, Any]) -> None:
        """Give a job, which is JSON, to the queue."""
        raise NotImplementedError

    async def resolve(self) -> None:
        """Have a job resolve it."""
        await self.enqueue({"resolve": self.arguments})

    async def transmit(self, delivery_id: str) -> None:
        """Have a job send it."""
        await self.enqueue({"transmit": [delivery_id]})


def demuxer_class(given: type[Demuxer] | str | None) -> type[Demuxer]:
    """Return a demuxer's class.

    Args:
        given: The class, or its ``module:name``; None for the worker's.

    Raises:
        ConfigError: It is none.
    """
    found: Any = Demuxer if given is None else given
    if isinstance(found, str):
        module, _, name = found.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"demuxer {given!r} can't be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Demuxer)):
        raise ConfigError(
            f"demuxer={given!r} is no Demuxer class: give one, or its name as 'module:name'"
        )
    return found


def is_plain(cls: type[Demuxer]) -> bool:
    """Tell whether a class does nothing of its own, so that signals are resolved in bulk."""
    names = ("resolve", "resolve_now", "transmit")
    return all(getattr(cls, name) is getattr(Demuxer, name) for name in names)
