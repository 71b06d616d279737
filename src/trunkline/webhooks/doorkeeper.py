"""Who a service's request comes from: a signature, a token or a password, or nobody we know."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from trunkline.errors import LimitExceededError
from trunkline.runtime.clock import Clock
from trunkline.webhooks.errors import StrangerError
from trunkline.webhooks.peer import NOBODY, PeerKeys, fits, read_authorization
from trunkline.webhooks.peers import Peers
from trunkline.webhooks.service_http import ServiceRequest
from trunkline.wire.signature import SIGNATURE, SignatureError, verify
from trunkline.wire.toot import PEER, signed_content

#: Passwords that are checked at once, and that wait to be, in one process: each takes long.
AT_ONCE: Final = 2
WAITING: Final = 64
#: Passwords that are remembered as right.
REMEMBERED: Final = 1000


class Doorkeeper:
    """Find out who calls.

    Args:
        peers: Those that we know.
        clock: Tells the time.
    """

    def __init__(self, peers: Peers, clock: Clock) -> None:
        self._peers = peers
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._slow: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0

    async def identify(self, request: ServiceRequest) -> tuple[str, str]:
        """Return the peer that a request to a service comes from.

        Args:
            request: The request; a signature covers its verb and its query too.

        Returns:
            The peer's name, and the id that the request was signed under: empty without one.

        Raises:
            StrangerError: It proves nothing.
            LimitExceededError: Too many are at the door.
        """
        name = request.headers.get(PEER.lower(), "")
        if name and SIGNATURE in request.headers:
            keys = (await self._peers.keys([name])).get(name)
            content = signed_content(request.method, request.query, request.body)
            ident = self._signed(keys, request.headers, content)
            if ident is None:
                raise StrangerError
            return name, ident
        return await self._with_password(request), ""

    async def senders(self, request: ServiceRequest, names: Iterable[str]) -> set[str]:
        """Return those of some peers that a callback may come from: one as a rule.

        Args:
            request: The callback; its signature covers the body alone, as webhooks have it.
            names: The peers that could send it.

        Raises:
            StrangerError: It is none of them.
            LimitExceededError: Too many are at the door.
        """
        wanted = set(names)
        if SIGNATURE in request.headers:
            keys = await self._peers.keys(wanted)
            found = {
                name
                for name, one in keys.items()
                if self._signed(one, request.headers, request.body) is not None
            }
        else:
            found = {await self._with_password(request)} & wanted
        if not found:
            raise StrangerError
        return found

    def _signed(
        self, keys: PeerKeys | None, headers: Mapping[str, str], content: bytes
    ) -> str | None:
        if keys is None or not keys.verifying:
            return None
        try:
            return verify(headers, content, keys.verifying, now=self._clock.now())[0]
        except SignatureError:
            return None

    async def _with_password(self, request: ServiceRequest) -> str:
        given = read_authorization(request.headers)
        if given is None:
            raise StrangerError
        name, password = given
        keys = (await self._peers.keys([name])).get(name)
        stored = NOBODY if keys is None or keys.password is None else keys.password
        if not await self._fits(password, stored):
            raise StrangerError
        return name

    async def _fits(self, password: str, stored: str) -> bool:
        text = f"{stored} {password}".encode("utf-8", "surrogatepass")
        mark = hmac.digest(self._key, text, hashlib.sha256)
        if mark in self._right:
            return True
        if self._waiting >= WAITING:
            raise LimitExceededError("credentials being checked", WAITING, status=503)
        self._waiting += 1
        try:
            async with self._turn():
                is_right = await asyncio.to_thread(fits, password, stored)
        finally:
            self._waiting -= 1
        if is_right:
            if len(self._right) >= REMEMBERED:
                self._right.clear()
            self._right[mark] = None
        return is_right

    def _turn(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._slow is None or loop is not self._loop:
            self._slow, self._loop = asyncio.Semaphore(AT_ONCE), loop
        return self._slow
