"""Registering our subscriptions at their sources, and renewing them before their lease ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from trunkline.errors import ConfigError, TrunklineError
from trunkline.runtime.clock import Clock, jitter
from trunkline.sql.database import Database, Row
from trunkline.webhooks.outlet import Answer, Call
from trunkline.webhooks.peer import PeerKeys
from trunkline.webhooks.peers import Peers
from trunkline.webhooks.sibling_options import SiblingOptions
from trunkline.webhooks.sibling_statements import sibling_statements
from trunkline.webhooks.sources import SendCall, Source, Sources
from trunkline.webhooks.subscribers import Subscribers
from trunkline.wire.signature import sign
from trunkline.wire.toot import LEASE, PEER, encode_registration, signed_content

logger = logging.getLogger("trunkline.webhooks")

#: Seconds between two looks for what is due, and until a worker that took one is given up.
EVERY: Final = 5.0
TAKEN: Final = 60.0
#: Seconds before the first repetition of a registration that failed, and at most.
FIRST: Final = 2.0
LAST: Final = 900.0
#: The part of a lease after which it is renewed.
SHARE: Final = 1 / 3
#: Seconds after which a registration without a lease is made again: sources forget, too.
WITHOUT_LEASE: Final = 86400.0
#: Registrations under way at once.
AT_ONCE: Final = 16


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """Tell how one registration went.

    Args:
        source: The source's name.
        channel: The full name.
        status: What it answered, or None without an answer.
        error: What went wrong, or None.
    """

    source: str
    channel: str
    status: int | None
    error: str | None

    @property
    def is_ok(self) -> bool:
        """Tell whether it went well."""
        return self.error is None


class Registrar:
    """Register what was declared.

    Args:
        ready: Opens the line if need be, and returns its database.
        sources: What was declared.
        peers: What requests are proven with.
        options: The settings.
        send: Sends through hook and guard.
        clock: Tells the time.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[Database]],
        sources: Sources,
        peers: Peers,
        *,
        options: SiblingOptions,
        send: SendCall,
        clock: Clock,
    ) -> None:
        self._ready = ready
        self._sources = sources
        self._peers = peers
        self._options = options
        self._send = send
        self._clock = clock

    async def register_all(self) -> Sequence[Registered]:
        """Register all subscriptions now; one that fails doesn't stop the others.

        Raises:
            ConfigError: There is no ``callback_url``.
        """
        wanted = self._sources.wanted()
        await self.declare()
        return await self._register(wanted)

    async def declare(self) -> None:
        """Note what is to be registered.

        Raises:
            ConfigError: There is no ``callback_url``.
        """
        wanted, url = self._sources.wanted(), self._options.callback_url
        if not wanted:
            return
        if url is None:
            raise ConfigError(
                "webhooks.services.callback_url is missing: where is your handler service?"
            )
        database = await self._ready()
        sql = sibling_statements(database)
        async with database.transaction() as tx:
            for source, channel in wanted:
                await tx.execute(sql.add_registration, source.name, channel, url)

    async def register_due(self) -> int:
        """Register what is due and what no other worker has taken; return how many."""
        database = await self._ready()
        sql, now = sibling_statements(database), self._clock.now()
        wanted = {(source.name, channel): source for source, channel in self._sources.wanted()}
        taken: list[tuple[Source, str]] = []
        for row in await database.fetch(sql.due, now, 1000):
            source = wanted.get((row["source"], row["channel"]))
            if source is None:
                continue  # another program's with this store, or of yesterday
            async with database.transaction() as tx:
                if await tx.execute(
                    sql.take, now + TAKEN, source.name, row["channel"], row["renew_at"]
                ):
                    taken.append((source, row["channel"]))
        await self._register(taken)
        return len(taken)

    async def list(self) -> Sequence[Row]:
        """Return what is known of registrations, as rows."""
        database = await self._ready()
        return await database.fetch(sibling_statements(database).registrations)

    async def unregister(self, source_name: str, channel: str) -> Registered:
        """Tell a source that its channel is not wanted any more.

        Args:
            source_name: The source's name.
            channel: The full name.

        Raises:
            ConfigError: There is no such source, or no ``callback_url``.
        """
        source, url = self._sources.find(source_name), self._options.callback_url
        if source is None or url is None:
            raise ConfigError(f"no source {source_name!r}, or no callback_url")
        query = urlencode({"channel": channel, "callback_url": url})
        outcome, _ = await self._ask(source, channel, method="DELETE", query=query, body=b"")
        if outcome.is_ok or outcome.status == 404:
            database = await self._ready()
            sql = sibling_statements(database)
            async with database.transaction() as tx:
                await tx.execute(sql.forget_registration, source_name, channel)
            return msgspec.structs.replace(outcome, error=None)
        return outcome

    async def _register(self, wanted: Sequence[tuple[Source, str]]) -> Sequence[Registered]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(source: Source, channel: str) -> Registered:
            async with turn:
                return await self._register_one(source, channel)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(*each)) for each in wanted]
        return [task.result() for task in tasks]

    async def _register_one(self, source: Source, channel: str) -> Registered:
        lease = None if source.format == "toot" else self._options.lease
        body = encode_registration(self._options.callback_url or "", channel, lease)
        outcome, answer = await self._ask(source, channel, method="POST", query="", body=body)
        await self._note(source, outcome, answer)
        return outcome

    async def _ask(
        self, source: Source, channel: str, *, method: str, query: str, body: bytes
    ) -> tuple[Registered, Answer | None]:
        """Make a request of a source; whatever goes wrong is in what is returned."""
        answer, status, error = None, None, None
        try:
            keys = (await self._peers.keys([source.peer])).get(source.peer)
            headers = self._headers(source, keys, signed_content(method, query, body))
            mark = "&" if "?" in source.subscription_url else "?"
            url = f"{source.subscription_url}{mark}{query}" if query else source.subscription_url
            call = Call(purpose="registration", url=url, body=body, headers=headers, method=method)
            answer = await self._send(call)
            status = answer.status
            if not 200 <= status < 300:
                error = f"Response code: {status}"
        except TrunklineError as failure:
            error = str(failure)
        except Exception as failure:
            logger.exception("the registration at %s failed", source.name)
            error = type(failure).__name__
        if error is not None:
            logger.warning("%s of %s at %s failed: %s", method, channel, source.name, error)
        found = Registered(source=source.name, channel=channel, status=status, error=error)
        return found, answer

    def _headers(self, source: Source, keys: PeerKeys | None, content: bytes) -> dict[str, str]:
        headers = {"content-type": "application/json", "user-agent": "Trunkline"}
        if keys is None:
            return headers
        if keys.authorization is not None:
            headers["authorization"] = keys.authorization
        if source.format != "toot" and keys.signing:
            if not keys.us:
                raise ConfigError(
                    f"who are we at {source.peer!r}? Add that peer with send=Credentials(…)"
                )
            headers[PEER.lower()] = keys.us
            headers |= sign(
                keys.signing,
                delivery_id=f"reg_{secrets.token_hex(12)}",
                timestamp=int(self._clock.now()),
                body=content,
            )
        return headers

    async def _note(self, source: Source, outcome: Registered, answer: Answer | None) -> None:
        database = await self._ready()
        sql, now = sibling_statements(database), self._clock.now()
        values: tuple[Any, ...]
        async with database.transaction() as tx:
            if outcome.is_ok:
                again = now + jitter(_lease(answer) * SHARE, spread=0.1)
                values = (now, again, outcome.status, source.name, outcome.channel)
                await tx.execute(sql.registered, *values)
                return
            failures = await self._failures(source.name, outcome.channel)
            again = now + jitter(min(LAST, FIRST * 2.0 ** min(failures, 20)))
            error = (outcome.error or "")[:500].replace("\0", "\ufffd")
            values = (again, outcome.status, error, source.name, outcome.channel)
            await tx.execute(sql.not_registered, *values)

    async def _failures(self, source: str, channel: str) -> int:
        found = {(row["source"], row["channel"]): row["failures"] for row in await self.list()}
        return int(found.get((source, channel), 0))


def _lease(answer: Answer | None) -> float:
    text = "" if answer is None else answer.headers.get(LEASE.lower(), "")
    is_told = text.isascii() and text.isdigit() and len(text) < 10
    return max(30.0, float(text)) if is_told else WITHOUT_LEASE / SHARE


class Renewer:
    """Keep subscriptions alive, ours at their sources, and let others' end with their lease.

    Args:
        registrar: Registers.
        subscribers: Others' subscriptions.
        forget: Forgets ids that were remembered for long enough.
        registers: Whether this worker registers at all.
    """

    name = "services"

    def __init__(
        self,
        registrar: Registrar,
        subscribers: Subscribers,
        forget: Callable[[], Awaitable[None]],
        *,
        registers: bool,
    ) -> None:
        self._registrar = registrar
        self._subscribers = subscribers
        self._forget = forget
        self._registers = registers
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Register, renew and forget until stopped."""
        if self._registers:
            await self._registrar.declare()
            await self._registrar.register_all()
        while not self._stopped.is_set():
            while await self._subscribers.expire():
                pass
            await self._forget()
            if self._registers:
                await self._registrar.register_due()
            try:
                async with asyncio.timeout(jitter(EVERY, spread=0.1)):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Have :meth:`run` return."""
        self._stopped.set()
