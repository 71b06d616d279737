"""A dictionary that every process shares: a write here is seen there, in one order everywhere.

Grew from MessageBus's DistributedCache, and repairs what that loses: it has an order, late joiners
get the whole, and after a gap it reads itself anew.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Iterator, MutableMapping
from typing import Any

import msgspec

from trunkline.channels.cache_state import (
    Ask,
    CacheState,
    Change,
    Clear,
    Delete,
    Op,
    Set,
    as_data,
    op_of,
)
from trunkline.channels.drafting import PublishOptions
from trunkline.channels.subscription import Start, Subscription
from trunkline.channels.wing import Premises
from trunkline.errors import (
    GapError,
    LineClosedError,
    LogError,
    TrunklineError,
    UsageError,
)
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest
from trunkline.model.message import Message
from trunkline.runtime.clock import jitter
from trunkline.runtime.loops import Backoff

logger = logging.getLogger("trunkline.channels")

#: Changes between two snapshots.
INTERVAL = 250
#: Bytes of a snapshot's part; a message may have 1 MiB.
PART_SIZE = 512 * 1024
#: Seconds to wait for a snapshot that was asked for, before what is there is taken for the whole.
ASK_WAIT = 2.0
#: Seconds, about, before an answer: most processes then find that another has answered.
ANSWER_AFTER = 0.1
FAILED = "a cache could not write: %s"
CLOSED = "the line was closed meanwhile: whether what was written is stored is not known"


class Cache(MutableMapping[str, Any]):
    """Share values by key among the processes of a line.

    As a mapping it is this process's copy: reads are immediate, and a write shows here at once
    and goes out behind it (:meth:`flush` waits for that). :meth:`set`, :meth:`delete` and
    :meth:`wipe` return when the write is durable and shows here. Values are JSON, or of *type*;
    don't change one in place, assign it anew.

    Args:
        premises: What it works with.
        channel: Its channel.
        type: What values are converted to.
    """

    def __init__(self, premises: Premises, channel: ChannelKey, *, type: Any = Any) -> None:  # noqa: A002 - the word an application says
        self._premises = premises
        self._channel = channel
        self._type = type
        self._state = CacheState()
        self._loaded = asyncio.Event()
        self._moved = asyncio.Event()
        self._pending: deque[Change] = deque()
        self._overlay: dict[str, Change] = {}
        self._wiped = 0
        self._sending = False
        self._failure: TrunklineError | None = None
        #: How often the line was closed: whoever waits is told, for nothing moves any more.
        self._closings = 0

    # -- the mapping --------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        change = self._overlay.get(key)
        now = self._premises.clock.now()
        if isinstance(change, Set):
            if change.until is None or now < change.until:
                return self._converted(change.value)
        elif change is None and not self._wiped:
            entry = self._state.get(key, now)
            if entry is not None:
                return self._converted(entry.value)
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._send(self._set(key, value, None))

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._send(Delete(_checked(key)))

    def clear(self) -> None:
        """Take all keys out."""
        self._send(Clear())

    def __iter__(self) -> Iterator[str]:
        now = self._premises.clock.now()
        kept = [] if self._wiped else [key for key, _ in self._state.items(now)]
        added = [key for key, one in self._overlay.items() if isinstance(one, Set)]
        return iter(key for key in dict.fromkeys([*kept, *added]) if key in self)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]  # type: ignore[index]
        except KeyError:
            return False
        return True

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _converted(self, value: Any) -> Any:
        return value if self._type is Any else msgspec.convert(value, self._type)

    # -- writing and waiting ------------------------------------------------------------------

    async def set(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Give a key a value, everywhere; returns when that is durable and shows here.

        Args:
            key: Any text.
            value: A JSON value, or one of the cache's type.
            ttl: Seconds after which the key is gone; None for never.

        Raises:
            UsageError: Key or value can't be accepted.
            LogError: The log could not store it; nothing changed.
            LineClosedError: The line was closed before it showed here; it may be stored.
        """
        await self._write(self._set(key, value, ttl))

    async def delete(self, key: str) -> None:
        """Take a key out, everywhere; nothing happens if there is none.

        Raises:
            LogError: As for :meth:`set`.
        """
        await self._write(Delete(_checked(key)))

    async def wipe(self) -> None:
        """Take all keys out, everywhere.

        Raises:
            LogError: As for :meth:`set`.
        """
        await self._write(Clear())

    async def open(self) -> Cache:
        """Open the line and wait until this process has the whole cache.

        Raises:
            LogError: The log can't be used.
        """
        await self._premises.bus.be_ready()
        if not self._premises.bus.is_off:
            await self.loaded()
        return self

    async def loaded(self) -> None:
        """Wait until this process has the whole cache.

        Raises:
            LineClosedError: The line was closed meanwhile.
        """
        closings = self._closings
        await self._loaded.wait()
        self._check(closings)

    async def flush(self) -> None:
        """Wait until all that was written as to a mapping is durable.

        Raises:
            LogError: Some of it could not be stored; the cache is as if it never was written.
            LineClosedError: The line was closed before all of it was.
        """
        while self._pending or self._sending:
            await self._next_move()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    @property
    def is_loaded(self) -> bool:
        """Tell whether this process has the whole cache."""
        return self._loaded.is_set()

    def _set(self, key: str, value: Any, ttl: float | None) -> Set:
        if ttl is not None and not ttl > 0:
            raise UsageError(f"ttl={ttl!r} must be seconds above 0")
        plain = msgspec.to_builtins(value, str_keys=True)
        if self._type is not Any:
            msgspec.convert(plain, self._type)
        until = None if ttl is None else self._premises.clock.now() + ttl
        return Set(_checked(key), plain, until)

    async def _write(self, change: Change) -> None:
        await self.flush()
        if self._premises.bus.is_off:
            self._state.change(change)
            return
        await self.open()
        closings = self._closings
        upto = await self._publish(change)
        self._check(closings)
        while self._state.upto < upto:
            await self._next_move()

    def _send(self, change: Change) -> None:
        """Show a change here and write it behind; the order of writes is kept."""
        if self._premises.bus.is_off:
            self._state.change(change)
            return
        self._pending.append(change)
        self._cover(change)
        if not self._sending:
            self._sending = True
            self._premises.run(f"cache {self._channel.name}", self._send_all)

    def _cover(self, change: Change) -> None:
        if isinstance(change, Clear):
            self._overlay.clear()
            self._wiped += 1
        else:
            self._overlay[change.key] = change

    async def _send_all(self) -> None:
        try:
            while self._pending:
                change = self._pending[0]
                try:
                    upto = await self._publish(change)
                    while self._state.upto < upto:
                        await self._next_move()
                except TrunklineError as error:
                    logger.warning(FAILED, error)
                    self._failure = error
                self._pending.popleft()
                self._uncover(change)
        finally:
            self._sending = False
            self._move()

    def _uncover(self, change: Change) -> None:
        if isinstance(change, Clear):
            self._wiped -= 1
        elif self._overlay.get(change.key) is change:
            del self._overlay[change.key]
        self._move()

    async def _publish(self, op: Op, *, size: int = 4 * INTERVAL) -> int:
        options: PublishOptions = {"max_backlog_size": size, "site_id": self._channel.site_id}
        name = self._channel.name
        receipt = await self._premises.bus.publish_internal(name, as_data(op), **options)
        since = receipt.message_id - self._state.snapshot_id
        if not isinstance(op, Ask) and since % INTERVAL == 0:
            self._premises.run(f"cache {name} snapshot", self._write_snapshot)
        return receipt.message_id

    async def _write_snapshot(self) -> None:
        if not self._state.is_complete:
            return
        now = self._premises.clock.now()
        parts = self._state.snapshot(secrets.token_hex(8), now, PART_SIZE)
        name, size = self._channel.name, 4 * (INTERVAL + len(parts))
        options: PublishOptions = {"max_backlog_size": size, "site_id": self._channel.site_id}
        for part in parts:
            await self._premises.bus.publish_internal(name, as_data(part), **options)

    async def _answer(self) -> None:
        before = self._state.snapshot_id
        await asyncio.sleep(jitter(ANSWER_AFTER, spread=1.0))
        if self._state.snapshot_id == before:
            await self._write_snapshot()

    # -- reading ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the channel until cancelled."""
        backoff = Backoff()
        while True:
            try:
                await self._load()
                await self._follow(backoff)
            except GapError:
                continue  # whatever was lost: the log tells how it all stands
            except LineClosedError:
                return
            except LogError as error:
                logger.warning("a cache cannot read the log, trying again: %s", error)
                await asyncio.sleep(backoff.next_delay())
            else:
                return

    async def _load(self) -> None:
        page = await self._premises.log.read(self._channel, 0)
        self._state.begin(page.floor)
        while True:
            for record in page.records:
                self._take(record.message_id, record.data, is_live=False)
            self._state.upto = max(self._state.upto, page.upto, page.floor)
            if self._state.upto >= page.head:
                break
            page = await self._premises.log.read(self._channel, self._state.upto)
        if self._state.is_complete:
            self._loaded.set()
        self._move()

    async def _follow(self, backoff: Backoff) -> None:
        subscription = Subscription(
            self._premises.log,
            self._premises.hub,
            Interest(frozenset({self._channel})),
            start=Start(after={self._channel: self._state.upto}),
        )
        async with subscription:
            timer = None
            if not self._state.is_complete:
                timer = asyncio.get_running_loop().call_later(ASK_WAIT, self._accept)
                await self._publish(Ask())
            try:
                async for message in subscription:
                    backoff.succeed()
                    self._hear(message)
            finally:
                if timer is not None:
                    timer.cancel()

    def _hear(self, message: Message) -> None:
        self._take(message.message_id, msgspec.json.encode(message.data), is_live=True)

    def _take(self, message_id: int, data: bytes, *, is_live: bool) -> None:
        try:
            op = op_of(bytes(data))
        except msgspec.MsgspecError as error:
            logger.warning("no message of a cache on %s: %s", self._channel.name, error)
            return
        effect = self._state.take(message_id, op)
        if effect == "asked" and is_live and self._state.is_complete:
            self._premises.run(f"cache {self._channel.name} answer", self._answer)
        if self._state.is_complete and is_live:
            self._loaded.set()
        self._move()

    def _accept(self) -> None:
        self._state.accept()
        self._loaded.set()
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _next_move(self) -> None:
        closings = self._closings
        await self._moved.wait()
        self._check(closings)

    def _check(self, closings: int) -> None:
        if closings != self._closings:
            raise LineClosedError(CLOSED)

    def close(self) -> None:
        """Forget what this process knows: the line is closed."""
        # The next opening may be on another event loop, and an event belongs to one.
        loaded, self._loaded = self._loaded, asyncio.Event()
        self._state.begin(0)
        self._pending.clear()
        self._overlay.clear()
        self._wiped = 0
        self._closings += 1
        loaded.set()
        self._move()

    def __repr__(self) -> str:
        return f"<Cache {self._channel.name} of {len(self)}>"


def _checked(key: Any) -> str:
    if not isinstance(key, str):
        raise UsageError(f"a cache's key is text, not {type(key).__name__}")
    return key
