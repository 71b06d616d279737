"""A client with the calls and settings of message_bus's Ruby HTTP client, without its defects.

It works against any message_bus server and against ours. Differing from the Ruby client: every
block of a read is delivered, escaped separators are restored, the response's Content-Type decides
about framing, a body may arrive in any pieces, HTTP statuses and Retry-After count, a server is
told (``dlp=t``) when long polling is off, and the base URL's path is kept.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from enum import IntEnum
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack

from trunkline.client.endpoint import Endpoint
from trunkline.client.exchange import Answer, Exchange, Hold
from trunkline.client.failures import Interruption
from trunkline.client.link import beside
from trunkline.client.poll_cursor import PollCursor
from trunkline.client.polling import Idleness
from trunkline.client.settings import ClientOptions, Settings
from trunkline.errors import ConfigError, GrammarError, TrunklineError
from trunkline.model.channel import check_readable
from trunkline.runtime.clock import jitter
from trunkline.wire.poll_reply import PollMessage

logger = logging.getLogger(__name__)

T = TypeVar("T")
Callback = Callable[[Any, int, int], Awaitable[None] | None]

NEW_ONLY = -1
PATIENCE = 2
READ_AHEAD = 128  # answers; on a busy loop each turn brings many, and one a turn would fall behind


class Status(IntEnum):
    """Say whether a client polls."""

    STOPPED = 0
    STARTED = 1


@dataclasses.dataclass(slots=True)
class Stats:
    """Count polls: the successful ones in total, the failed ones in a row."""

    success: int = 0
    failed: int = 0


class PollingOptions(TypedDict, total=False):
    """Be the settings of a :class:`MessageBusClient`, all of them optional.

    Attributes:
        enable_long_polling: Let the server hold polls; by default it may.
        enable_chunked_encoding: Let it stream while it holds them; by default it may.
        min_poll_interval: Seconds between long polls; 0.1 by default.
        max_poll_interval: Seconds between polls at most, after failures; 180 by default.
        background_callback_interval: Seconds between polls without long polling; 60 by default.
        headers: Added to every request.
        options: More of :class:`~trunkline.client.settings.ClientOptions`.
    """

    enable_long_polling: bool
    enable_chunked_encoding: bool
    min_poll_interval: float
    max_poll_interval: float
    background_callback_interval: float
    headers: dict[str, str]
    options: ClientOptions


@dataclasses.dataclass(slots=True)
class Channel:
    """Be a channel that is followed.

    Args:
        last_message_id: The id it was read up to.
        callbacks: Who is called, in order.
    """

    last_message_id: int
    callbacks: list[Callback]


class MessageBusClient:
    """Poll a message_bus server and call back.

    Must be used within a running event loop. ``async with`` stops it at the end.

    Args:
        base_url: Where the server is mounted.
        **settings: See :class:`PollingOptions`; they are attributes and may change at any time.

    Raises:
        ConfigError: The URL or a setting is out of range.
        MissingExtraError: aiohttp is not installed.
    """

    def __init__(self, base_url: str, **settings: Unpack[PollingOptions]) -> None:
        if unknown := settings.keys() - PollingOptions.__annotations__.keys():
            raise TypeError(f"MessageBusClient has no setting {', '.join(sorted(unknown))}")
        self.enable_long_polling = settings.get("enable_long_polling", True)
        self.enable_chunked_encoding = settings.get("enable_chunked_encoding", True)
        self.min_poll_interval = settings.get("min_poll_interval", 0.1)
        self.max_poll_interval = settings.get("max_poll_interval", 180.0)
        self.background_callback_interval = settings.get("background_callback_interval", 60.0)
        if not 0 < self.min_poll_interval <= self.max_poll_interval:
            raise ConfigError("min_poll_interval must be above 0 and not above max_poll_interval")
        self.headers = dict(settings.get("headers", {}))
        self.stats = Stats()
        options: ClientOptions = {"headers": self.headers}
        options.update(settings.get("options", {}))
        self._settings = Settings(**options)
        self._endpoint = Endpoint(base_url, self._settings)
        client_id = self._settings.client_id or self._settings.random_id()
        self._exchange = Exchange(self._endpoint, client_id, wants_gaps=False)
        self._cursor = PollCursor({})
        self._callbacks: dict[str, list[Callback]] = {}
        self._idleness = Idleness(self.min_poll_interval, 15.0)
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def channels(self) -> dict[str, Channel]:
        """Return the channels that are followed, by name."""
        ids = self._cursor.ids
        return {name: Channel(ids[name], list(them)) for name, them in self._callbacks.items()}

    @property
    def status(self) -> Status:
        """Return whether the client polls."""
        return Status.STOPPED if self._task is None else Status.STARTED

    def subscribe(self, channel: str, callback: Callback, last_message_id: Any = None) -> Callback:
        """Call back for each message of a channel, and start polling if need be.

        Args:
            channel: Its name.
            callback: A function or coroutine function; it gets data, message id and global id.
            last_message_id: Begin after this id; -1 for new messages only, -N for the last N-1
                first. What is no integer counts as -1. A channel that is followed already keeps
                its position when none is given.

        Returns:
            The callback.

        Raises:
            GrammarError: The channel's name does not start with ``/``, or there is no callback.
        """
        if not isinstance(channel, str) or not channel.startswith("/"):
            raise GrammarError(f"{channel!r} is no channel: a name starts with '/'")
        if not callable(callback):
            raise GrammarError("subscribe needs a callback")
        check_readable(channel)
        is_integer = isinstance(last_message_id, int) and not isinstance(last_message_id, bool)
        if last_message_id is not None or not self._cursor.knows(channel):
            self._cursor.add(channel, last_message_id if is_integer else NEW_ONLY)
        self._callbacks.setdefault(channel, []).append(callback)
        self._changed.set()
        self.start()
        return callback

    def unsubscribe(self, channel: str, callback: Callback | None = None) -> bool:
        """Call back no more; the channel goes with its last callback, and polling with the last.

        Args:
            channel: Its name.
            callback: Only this one; None for all of the channel.

        Returns:
            Whether something was removed.
        """
        callbacks = self._callbacks.get(channel)
        if callbacks is None or (callback is not None and callback not in callbacks):
            return False
        if callback is not None:
            callbacks.remove(callback)
        if callback is None or not callbacks:
            del self._callbacks[channel]
            self._cursor.remove(channel)
            self._changed.set()
            if not self._callbacks:
                self.stop()
        return True

    def start(self) -> None:
        """Start polling. Idempotent."""
        if self._task is None:
            self._endpoint.open()
            self._task = asyncio.create_task(self._run(), name="message_bus client")

    def stop(self) -> None:
        """Stop polling; a callback under way finishes first. Idempotent.

        The positions stay, and :meth:`start` goes on from them.
        """
        task, self._task = self._task, None
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._changed.set()

    async def aclose(self) -> None:
        """Stop polling, wait for the end of it, and close the connections."""
        self.stop()
        others = self._ending - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)
        await self._endpoint.close()

    async def __aenter__(self) -> Self:
        self._endpoint.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self) -> None:
        me = asyncio.current_task()
        while self._task is me:
            self._changed.clear()
            pause = await self._cycle()
            if pause > 0 and not self._changed.is_set():
                await self._until_changed(asyncio.ensure_future(self._settings.sleep(pause)))

    async def _cycle(self) -> float:
        """Poll once and return the seconds until the next poll."""
        hold = self._hold()
        answers: asyncio.Queue[Answer | Exception | None] = asyncio.Queue(READ_AHEAD)
        started = self._settings.clock.monotonic()
        was_useful = False
        async with beside(self._read(answers, hold)):
            # Callbacks run here and not in the reader, for the reader may be cancelled.
            while (got := await self._next(answers)) is not None:
                if isinstance(got, Exception):
                    return self._on_failure(got)
                was_useful = was_useful or got.is_streamed or bool(got.messages)
                self.stats.failed = 0
                await self._dispatch(got.messages)
        if self._changed.is_set():
            return 0.0
        self.stats.success += 1
        if hold is Hold.NOT:
            return self.background_callback_interval
        elapsed = self._settings.clock.monotonic() - started
        rest = self._idleness.rest(elapsed=elapsed, was_useful=was_useful)
        return max(self.min_poll_interval, rest)

    def _hold(self) -> Hold:
        if not self.enable_long_polling:
            return Hold.NOT
        return Hold.STREAM if self.enable_chunked_encoding else Hold.ONCE

    async def _read(self, answers: asyncio.Queue[Answer | Exception | None], hold: Hold) -> None:
        try:
            async with aclosing(self._exchange.poll(self._cursor.ids, hold)) as arriving:
                async for answer in arriving:
                    await answers.put(answer)
            await answers.put(None)
        except (Interruption, TrunklineError) as error:
            await answers.put(error)

    async def _next(
        self, answers: asyncio.Queue[Answer | Exception | None]
    ) -> Answer | Exception | None:
        if not answers.empty() and not self._changed.is_set():
            return answers.get_nowait()
        return await self._until_changed(asyncio.ensure_future(answers.get()))

    async def _until_changed(self, work: asyncio.Future[T]) -> T | None:
        """Return the result of *work*, or None when the subscriptions change first."""
        changed = asyncio.ensure_future(self._changed.wait())
        both: set[asyncio.Future[Any]] = {work, changed}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() and not changed.done() else None
        finally:
            work.cancel()
            changed.cancel()

    def _on_failure(self, error: Exception) -> float:
        self.stats.failed += 1
        wait = error.wait if isinstance(error, Interruption) else None
        pause = self.background_callback_interval
        if self.enable_long_polling:
            pause = self.min_poll_interval
            if self.stats.failed > PATIENCE:
                grown = self.min_poll_interval * 2.0 ** min(self.stats.failed, 64)
                grown = jitter(grown, spread=0.25, chance=self._settings.chance)
                pause = min(max(grown, self.min_poll_interval), self.max_poll_interval)
        pause = max(pause, wait or 0.0)
        logger.warning(
            "poll of %s failed, %d in a row (%s); again in %.1f s",
            self._endpoint.origin, self.stats.failed, error, pause,
        )  # fmt: skip
        return pause

    async def _dispatch(self, messages: list[PollMessage]) -> None:
        self._cursor.begin_answer(messages)
        for message in messages:
            if self._cursor.accept(message):
                for callback in tuple(self._callbacks.get(message.channel, ())):
                    await self._call(callback, message)
            self._cursor.take_status(message)

    async def _call(self, callback: Callback, message: PollMessage) -> None:
        try:
            outcome = callback(message.data, message.message_id, message.global_id)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            logger.exception("a callback on %s failed", message.channel)
