"""Watching entities: each watch holds the latest state it was shown, over any reconnects."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import msgspec

from trunkline.client.endpoint import Endpoint
from trunkline.client.failures import Interruption, Misdirection, failure_of_code
from trunkline.client.link import beside
from trunkline.client.pacing import Pace
from trunkline.client.receiving import receive_text
from trunkline.client.settings import Settings
from trunkline.errors import ProtocolError, TrunklineError
from trunkline.model.entity import EntityKey
from trunkline.wire.pushes import Failed, Goodbye, Push, parse_push
from trunkline.wire.socket import SUBPROTOCOL, Request, encode_request
from trunkline.wire.watch import (
    EntityRefusal,
    FetchFailed,
    Named,
    Refused,
    Removed,
    Row,
    SecretRequest,
    State,
    UnwatchRequest,
    Version,
    Watching,
    WatchRequest,
    parse_version,
)

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger(__name__)

#: Entities in one request, whose frame is bounded.
MAX_NAMED = 200


class EntityState(msgspec.Struct, frozen=True, kw_only=True):
    """Be an entity as this client may see it.

    Args:
        key: Which.
        version: How new it is.
        rows: What it consists of; none when it is gone or not to be seen.
    """

    key: EntityKey
    version: str
    rows: Sequence[Row]

    @property
    def is_removed(self) -> bool:
        """Tell whether it is gone, or not to be seen."""
        return not self.rows

    @property
    def value(self) -> Any:
        """Return the value of the entity's own row, else of the first; None when it is gone."""
        own = (row.value for row in self.rows if (row.entity, row.id) == self.key)
        return next(own, self.rows[0].value if self.rows else None)


class EntityWatch:
    """Iterate over an entity's states: the present one, then each that follows.

    A reader that is slower than the changes gets the latest and none between. Made by
    :meth:`Client.watch`.

    Args:
        key: Which entity.
        link: Where it is watched.

    Attributes:
        key: Which entity.
        latest: The last state that came, None before the first.
    """

    def __init__(self, key: EntityKey, link: EntityLink) -> None:
        self.key = key
        self.latest: EntityState | None = None
        self._link = link
        self._is_news = asyncio.Event()
        self._error: TrunklineError | None = None
        self._is_closed = False

    @property
    def named(self) -> Named:
        """Return how a request names it."""
        return Named(*self.key, None if self.latest is None else self.latest.version)

    def show(self, state: EntityState) -> None:
        """Take a state, unless it is older than the one that is known."""
        known = self.latest and parse_version(self.latest.version)
        if known and _is_older(parse_version(state.version), known):
            return
        self.latest = state
        self._is_news.set()

    def fail(self, error: Exception) -> None:
        """End it for a reason that waiting cannot cure."""
        self._error = error if isinstance(error, TrunklineError) else TrunklineError(str(error))
        self._is_news.set()

    def close(self) -> None:
        """Watch no longer; an iteration under way stops. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._is_news.set()
            self._link.remove(self)

    def __aiter__(self) -> AsyncIterator[EntityState]:
        return self

    async def __anext__(self) -> EntityState:
        if not self._is_closed and self._error is None:
            await self._is_news.wait()
            self._is_news.clear()
        if self._error is not None:
            raise self._error
        if self._is_closed or self.latest is None:
            raise StopAsyncIteration
        return self.latest

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        version = None if self.latest is None else self.latest.version
        return f"<EntityWatch {self.key.entity} {self.key.id} at {version}>"


class EntityLink:
    """Carry all of a client's watches over one WebSocket at a time.

    Args:
        endpoint: The server.
        settings: The client's.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._pace = Pace(settings)
        self._watches: dict[EntityKey, list[EntityWatch]] = {}
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._asked: dict[int | str, Sequence[Named]] = {}
        self._ids = itertools.count(1)
        self._secret: str | None = None
        self._was_established = False
        self.is_running = False

    # -- what the client calls ----------------------------------------------------------------

    def add(self, watch: EntityWatch) -> None:
        """Watch an entity from now on."""
        others = self._watches.setdefault(watch.key, [])
        others.append(watch)
        if len(others) > 1 and (latest := others[0].latest) is not None:
            watch.show(latest)
        elif len(others) == 1:
            self._ask([watch.named])

    def remove(self, watch: EntityWatch) -> None:
        """Watch it no longer, unless somebody else does. Idempotent."""
        others = self._watches.get(watch.key, [])
        if watch in others:
            others.remove(watch)
            if not others:
                del self._watches[watch.key]
                named = [Named(*watch.key)]
                self._requests.put_nowait(UnwatchRequest(next(self._ids), named))

    def set_secret(self, secret: str | None) -> None:
        """Set the secret that the application's fetch is given."""
        self._secret = secret
        self._requests.put_nowait(SecretRequest(next(self._ids), secret))

    def close(self) -> None:
        """End all watches."""
        for watch in self._all():
            watch.close()

    async def run(self) -> None:
        """Serve the watches until none is left or something cannot be cured."""
        self.is_running = True
        try:
            while self._watches:
                await self._attempt()
        except TrunklineError as error:
            self._fail(error)
        except Exception as error:
            logger.exception("the client's connection for entities failed unexpectedly")
            self._fail(error)
        finally:
            self.is_running = False

    # -- one connection -----------------------------------------------------------------------

    async def _attempt(self) -> None:
        self._pace.connect()
        try:
            await self._converse()
        except Misdirection as error:
            if not self._was_established:
                raise error.error() from error
            await self._rest(error)
        except (Interruption, ProtocolError) as error:
            await self._rest(error)

    async def _rest(self, error: Interruption | ProtocolError) -> None:
        cause = error if isinstance(error, Interruption) else Interruption(str(error))
        pause = self._pace.delay(cause)
        logger.warning("entities: connection lost (%s); again in %.1f s", error, pause)
        await self._settings.sleep(pause)

    async def _converse(self) -> None:
        self._requests = asyncio.Queue()
        self._asked.clear()
        async with self._endpoint.socket("/ws", subprotocol=SUBPROTOCOL) as socket:
            if self._secret is not None:
                self.set_secret(self._secret)
            self._ask([others[0].named for others in self._watches.values()])
            async with beside(self._speak(socket)):
                while self._watches:
                    text = await receive_text(socket, self._settings.silence_timeout)
                    self._on_push(parse_push(text))

    def _ask(self, named: Sequence[Named]) -> None:
        for first in range(0, len(named), MAX_NAMED):
            some = list(named[first : first + MAX_NAMED])
            request_id = next(self._ids)
            self._asked[request_id] = some
            self._requests.put_nowait(WatchRequest(request_id, some))

    async def _speak(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            request = await self._requests.get()
            try:
                await socket.send_str(encode_request(request).decode())
            except (ConnectionError, RuntimeError) as error:
                # Reading will notice, and say it better.
                logger.debug("could not send on the socket: %s", error)

    # -- what the server says -----------------------------------------------------------------

    def _on_push(self, push: Push | None) -> None:
        match push:
            case State():
                self._show(EntityKey(push.entity, push.id), push.version, push.rows)
            case Removed():
                self._show(EntityKey(push.entity, push.id), push.version, ())
            case Watching():
                self._was_established = True
                self._pace.establish()
                self._asked.pop(push.id or 0, None)
                self._refuse(push.refused)
            case Refused():
                self._refuse(push.refused)
            case FetchFailed():
                logger.warning("%s %s: %s", push.entity, push.id, push.detail)
            case Failed():
                self._on_failed(push)
            case Goodbye():
                wait = max(push.retry, 0) / 1000
                raise Interruption(f"the server said goodbye: {push.reason}", wait=wait)
            case _:
                pass  # about channels, or of a later release

    def _show(self, key: EntityKey, version: str, rows: Sequence[Row]) -> None:
        self._pace.progress()
        state = EntityState(key=key, version=version, rows=rows)
        for watch in self._watches.get(key, ()):
            watch.show(state)

    def _on_failed(self, push: Failed) -> None:
        asked = self._asked.pop(push.id, ()) if push.id is not None else ()
        failure = failure_of_code(push.code, push.detail)
        if isinstance(failure, Interruption) and (asked or push.id is None):
            raise failure  # without an id nobody knows which request it was: all are made again
        if not asked:
            logger.warning("the server did not understand: %s", push.detail)
            return
        self._end([one.key for one in asked], failure)

    def _refuse(self, refused: Iterable[EntityRefusal]) -> None:
        for one in refused:
            text = f"{one.entity} {one.id}: {one.detail}"
            failure = failure_of_code(one.code, text, status=400)
            self._end([EntityKey(one.entity, one.id)], failure)

    def _end(self, keys: Iterable[EntityKey], error: Exception) -> None:
        for key in keys:
            for watch in self._watches.pop(key, ()):
                watch.fail(error)

    def _fail(self, error: Exception) -> None:
        self._end(tuple(self._watches), error)

    def _all(self) -> list[EntityWatch]:
        return [watch for others in self._watches.values() for watch in others]


def _is_older(version: Version | None, known: Version) -> bool:
    if version is None or version.position.epoch != known.position.epoch:
        return False
    return version.position.global_id < known.position.global_id
