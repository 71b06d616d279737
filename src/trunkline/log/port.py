"""The port that every engine implements: what a log is, in a few methods.

The contract, which :mod:`trunkline.testing` holds every engine to:

* **Durable on return.** When :meth:`Log.append` returns a receipt, the message survives
  ``kill -9`` of any process.
* **Dense and ordered.** Message ids of a channel are 1, 2, 3 … without holes as written, and so
  are the line's global ids. Every reader sees them in that order; a reader that has seen global
  id g never later meets a new message with an id ≤ g. ``published_at`` never decreases.
* **No silent gap.** A page names its ``floor``, the newest position trimmed within what it
  selects: a reader at p has lost something if and only if p < floor.
* **Counters outlive messages.** A channel's counter, floor and kind, and the line's epoch,
  survive any trimming. Only :meth:`Log.reset` forgets them, and it changes the epoch.
* **Wake-ups are hints.** One may be lost, doubled or early; readers go by position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import msgspec

from trunkline.errors import TrunklineError
from trunkline.log.finding import Finding
from trunkline.log.retention import Retention
from trunkline.model.channel import ChannelKey, Kind
from trunkline.model.interest import Interest
from trunkline.model.message import Draft, Receipt, Record
from trunkline.runtime.clock import Clock

Group = Sequence[Draft]
Outcome = tuple[Receipt, ...] | TrunklineError
Wake = Callable[[], None]
Cancel = Callable[[], None]

PAGE_SIZE = 1000
PAGE_BYTES = 4 * 1024 * 1024


class Page(msgspec.Struct, frozen=True):
    """Hold a stretch of the log; ids are message ids in a channel's page, else global ids.

    Args:
        records: Messages in ascending order.
        floor: The newest position trimmed within the selection, 0 if none.
        head: The newest id of the channel, or of the line, when the page was read.
        upto: The page has all of its selection up to here: read on after it. Equal to *head*
            when nothing is left to read.
        epoch: The line's epoch.
    """

    records: Sequence[Record]
    floor: int
    head: int
    upto: int
    epoch: str


class Heads(msgspec.Struct, frozen=True):
    """Hold the last ids of some channels, all read at one moment.

    Args:
        ids: Last message id of each channel asked for, 0 where nothing was ever published.
        head: The line's last global id at that moment.
        epoch: The line's epoch.
    """

    ids: Mapping[ChannelKey, int]
    head: int
    epoch: str


class ChannelState(msgspec.Struct, frozen=True):
    """Describe a channel for operators.

    Args:
        key: Name and site.
        kind: Plain or stream.
        last_id: The newest message id ever given.
        floor: The newest trimmed message id, 0 if none.
        published_at: When the newest message came, Unix seconds.
    """

    key: ChannelKey
    kind: Kind
    last_id: int
    floor: int
    published_at: float

    @property
    def backlog(self) -> int:
        """Count the messages still kept."""
        return self.last_id - self.floor


class Log(ABC):
    """Store channels: the one port between Trunkline and an engine."""

    #: URL schemes, for messages and documentation.
    schemes: ClassVar[tuple[str, ...]] = ()
    #: Whether the engine keeps streams; one that does not refuses them (ChannelKindError).
    keeps_streams: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def from_url(
        cls, url: str, *, retention: Retention, clock: Clock, options: Mapping[str, Any]
    ) -> Self:
        """Make an engine that is not yet open.

        Args:
            url: The log's URL, whose scheme chose this class.
            retention: Asked at every trim; may change while the log is open.
            clock: Tells the time.
            options: Options for the driver, on top of those in the URL's query.

        Raises:
            ConfigError: The URL or an option makes no sense to this engine.
        """

    @classmethod
    def examine(cls, url: str, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Look for what could lose messages or slow the engine down, and change nothing.

        Blocks; an engine that has nothing to look at need not define it.

        Args:
            url: As for :meth:`from_url`.
            options: As for :meth:`from_url`.

        Raises:
            ConfigError: The URL or an option makes no sense to this engine.
        """
        del url, options
        return ()

    @abstractmethod
    async def open(self) -> None:
        """Connect, and create or migrate what is missing.

        Raises:
            LogError: It can't be used; the message names the cause and the fix.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was accepted, refuse what comes later, release everything. Idempotent."""

    @abstractmethod
    async def append(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Store groups of drafts, each whole or not at all, each by itself.

        Concurrent calls share commits. Cancelling a caller does not take its drafts back once
        they were handed over. Per draft: ``expected_version`` must equal the channel's last id;
        a known ``key`` with the same content gives its first receipt again, also when
        the message was trimmed; the channel's kind must be the draft's. Within one group later
        drafts see the earlier ones.

        Args:
            groups: Drafts, encoded and within the size limit.

        Returns:
            For each group its receipts, or the error that kept all of it out:
            :class:`VersionConflictError`, :class:`KeyReusedError`, :class:`ChannelKindError`.

        Raises:
            OutcomeUnknownError: The engine went away in the middle and did not come back in time:
                the call's groups may be stored, each whole or not at all.
            LogError: Any other: nothing of the call was stored.
            LineClosedError: The log is closed.
        """

    @abstractmethod
    async def read(self, channel: ChannelKey, after: int, limit: int = PAGE_SIZE) -> Page:
        """Return messages of one channel with ids above *after*.

        Args:
            channel: The channel; one never written to reads as empty.
            after: A message id; below the floor the page starts at the floor.
            limit: Messages at most; a page also ends at ``PAGE_BYTES``, but never before its
                first message.

        Raises:
            LogError: The engine could not read.
        """

    @abstractmethod
    async def read_all(
        self, after: int, limit: int = PAGE_SIZE, interest: Interest | None = None
    ) -> Page:
        """Return messages of all wanted channels with global ids above *after*, in that order.

        Args:
            after: A global id.
            limit: Messages at most, as for :meth:`read`; a page may be empty and yet have more
                after its ``upto``.
            interest: Which channels; None for all of them, Trunkline's own included.

        Raises:
            LogError: The engine could not read.
        """

    @abstractmethod
    async def last_ids(self, channels: Iterable[ChannelKey]) -> Heads:
        """Return the last ids of *channels* and of the line, at one moment."""

    @abstractmethod
    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Make a plain channel's messages with ids ≤ *upto* unreadable, at once.

        Args:
            channel: The channel.
            upto: A message id; above the last id it means all.

        Returns:
            How many messages that were readable are gone.

        Raises:
            ChannelKindError: The channel is a stream.
        """

    @abstractmethod
    async def sweep(self) -> int:
        """Apply the limits by age, idleness and line size, and delete what trimming hid.

        Returns:
            How many messages became unreadable.
        """

    @abstractmethod
    async def reset(self) -> str:
        """Erase every channel, counter and receipt, and start a new epoch.

        Returns:
            The new epoch.
        """

    @abstractmethod
    async def channels(
        self, after: ChannelKey | None = None, limit: int = PAGE_SIZE
    ) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name), a page at a time.

        Args:
            after: The last key of the page before, or None for the first.
            limit: Channels at most.
        """

    @abstractmethod
    def watch(self, wake: Wake) -> Cancel:
        """Call *wake* on the event loop when there may be something new, until cancelled.

        Args:
            wake: A plain function that only notes the news and returns.

        Returns:
            A function that ends the watch.
        """
