"""The log of a line that may be switched off: empty until somebody opens it.

A line hands one log object to its bus, its hub and its gateway when it is made, long before it
knows whether it will ever be opened. This is that object. Migrations, shells and tests that switch
a line off get empty answers, and no engine is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Self

from trunkline.errors import LineClosedError
from trunkline.log.port import (
    PAGE_SIZE,
    Cancel,
    ChannelState,
    Group,
    Heads,
    Log,
    Outcome,
    Page,
    Wake,
)
from trunkline.log.registry import engine_for
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.runtime.clock import Clock

EPOCH = "off"


class EmptyLog(Log):
    """Answer every read with nothing, and refuse whatever would have to be kept."""

    @classmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Make one; it needs nothing of what is given."""
        del url, retention, clock, options
        return cls()

    async def open(self) -> None:
        """Do nothing: there is nothing to open."""

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Refuse, for nothing would be kept."""
        del groups
        raise LineClosedError("the line is switched off: nothing was stored; line.on() first")

    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        """Return an empty page."""
        del channel, after, limit
        return Page((), 0, 0, 0, EPOCH)

    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        """Return an empty page."""
        del after, limit, interest
        return Page((), 0, 0, 0, EPOCH)

    async def last_ids(self, channels: Iterable[ChannelKey]) -> Heads:
        """Return zeros."""
        return Heads(dict.fromkeys(channels, 0), 0, EPOCH)

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Trim nothing."""
        del channel, upto
        return 0

    async def sweep(self) -> int:
        """Sweep nothing."""
        return 0

    async def reset(self) -> str:
        """Refuse, for another process's line might be meant."""
        raise LineClosedError("the line is switched off: nothing was erased; line.on() first")

    async def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Sequence[ChannelState]:
        """Return none."""
        del after, limit
        return ()

    def watch(self, wake: Wake) -> Cancel:
        """Never call *wake*."""
        del wake
        return lambda: None


class StandbyLog(Log):
    """Stand for an engine: empty before :meth:`open`, a fresh engine after each.

    Args:
        make: Makes the engine, not yet open.
    """

    def __init__(self, make: Callable[[], Log]) -> None:
        self._make = make
        self._log: Log = EmptyLog()

    @classmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Stand for the engine that the URL's scheme names; arguments as for the port."""
        return cls(
            lambda: engine_for(url).from_url(url, retention=retention, clock=clock, options=options)
        )

    def check(self) -> None:
        """Make the engine once, without opening it, so that a wrong URL is told early.

        Raises:
            ConfigError: The URL or an option makes no sense.
        """
        self._make()

    @property
    def engine(self) -> Log:
        """Return the engine that was opened last, with whatever it can beyond the port."""
        return self._log

    async def open(self) -> None:
        """Make the engine and open it; what came before is left."""
        engine = self._make()
        await engine.open()
        self._log = engine

    async def close(self) -> None:
        """Close the engine; it then refuses calls until the next :meth:`open`."""
        await self._log.close()

    # Handing the engine's own coroutines on, rather than awaiting them, costs no frame per call.

    def append(self, groups: Sequence[Group]) -> Coroutine[Any, Any, Sequence[Outcome]]:
        """Append, as the engine does."""
        return self._log.append(groups)

    def read(
        self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE
    ) -> Coroutine[Any, Any, Page]:
        """Read, as the engine does."""
        return self._log.read(channel, after, limit)

    def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Coroutine[Any, Any, Page]:
        """Read, as the engine does."""
        return self._log.read_all(after, limit, interest)

    def last_ids(self, channels: Iterable[ChannelKey]) -> Coroutine[Any, Any, Heads]:
        """Tell the last ids, as the engine does."""
        return self._log.last_ids(channels)

    def trim(self, channel: ChannelKey, upto: int) -> Coroutine[Any, Any, int]:
        """Trim, as the engine does."""
        return self._log.trim(channel, upto)

    def sweep(self) -> Coroutine[Any, Any, int]:
        """Sweep, as the engine does."""
        return self._log.sweep()

    def reset(self) -> Coroutine[Any, Any, str]:
        """Reset, as the engine does."""
        return self._log.reset()

    def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Coroutine[Any, Any, Sequence[ChannelState]]:
        """Describe channels, as the engine does."""
        return self._log.channels(after, limit)

    def watch(self, wake: Wake) -> Cancel:
        """Watch, as the engine does."""
        return self._log.watch(wake)

    def __repr__(self) -> str:
        return f"<StandbyLog of {self._log!r}>"
