"""The demo's server side: its page, what is said in the room, and the vitals' publisher."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib import resources
from typing import Annotated, Any, Final

import msgspec

from trunkline.app import Trunkline
from trunkline.demo import board
from trunkline.demo.board import Board
from trunkline.demo.vitals import Vitals
from trunkline.errors import TrunklineError, UsageError
from trunkline.gateway.answer import Answer, error_answer, problem_answer
from trunkline.gateway.application import Application
from trunkline.gateway.limits import RateLimiter
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.request import ClientGoneError, Receive, Request, Scope, Send
from trunkline.gateway.router import MethodNotAllowedError
from trunkline.model.identity import Identity
from trunkline.model.message import Limits
from trunkline.runtime.clock import Clock, SystemClock
from trunkline.runtime.loopback import is_loopback
from trunkline.runtime.loops import Sleep
from trunkline.wire.problem import problem

CHAT: Final = "/demo/chat"
VITALS: Final = "/demo/vitals"
CHAT_LIMITS: Final = Limits(max_backlog_size=10_000, max_backlog_age=None)
#: An hour of them: a laptop may sleep that long and miss nothing.
VITALS_LIMITS: Final = Limits(max_backlog_size=4 * 3600, max_backlog_age=3600.0)
EVERY: Final = 0.25
MAX_BODY: Final = 8 * 1024
TIMEOUT: Final = 10.0
SAYINGS_PER_SECOND: Final = 3
SAYINGS_AT_ONCE: Final = 15
TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
PAGE_HEADERS: Final = [
    ("cache-control", "no-cache"),
    (
        "content-security-policy",
        "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
]


class Saying(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Be what somebody says in the room.

    Args:
        name: Who says it.
        text: What.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class _MediaTypeError(UsageError):
    status = 415
    code = "media-type"


_decoder = msgspec.json.Decoder(Saying)


class DemoSite:
    """Serve the page, take what is said, and publish the vitals while the server runs.

    Args:
        line: The line.
        clock: Tells the time.
    """

    def __init__(self, line: Trunkline, *, clock: Clock | None = None) -> None:
        self._line = line
        self._clock = clock or SystemClock()
        pace = GatewayOptions(requests_per_second=SAYINGS_PER_SECOND, burst=SAYINGS_AT_ONCE)
        self._rates = RateLimiter(pace, self._clock)
        self._files = _page_files()
        self._board = Board(line)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(Request(scope, receive), send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "not served here"})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                self._line.start("vitals", partial(self.publish_vitals, asyncio.sleep))
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return

    async def publish_vitals(self, sleep: Sleep) -> None:
        """Publish the machine's vitals several times a second, until cancelled.

        Args:
            sleep: Waits between two readings.
        """
        vitals = Vitals(self._clock)
        while True:
            await sleep(EVERY)
            await self._line.publish(VITALS, vitals.read())

    async def _answer(self, request: Request, send: Send) -> None:
        try:
            answer = await self._find(request)
        except ClientGoneError:
            return
        except TrunklineError as error:
            answer = error_answer(error)
        await answer.send(send, without_body=request.method == "HEAD")

    async def _find(self, request: Request) -> Answer:
        if request.path == "/demo/say":
            return await self._say(await self._posted(request))
        if request.path == "/demo/item":
            await self._board.save(await self._posted(request))
            return Answer(204, [])
        name = "index.html" if request.path == "/" else request.path.removeprefix("/demo/")
        found = self._files.get(name)
        if found is None:
            return problem_answer(problem(404, "not-found", "nothing is served under this path"))
        if request.method not in {"GET", "HEAD"}:
            detail = f"{request.method[:20]} is not served here: use GET"
            return problem_answer(problem(405, "method-not-allowed", detail))
        kind = TYPES[name.rpartition(".")[2]]
        return Answer(200, [("content-type", kind), *PAGE_HEADERS], found)

    async def _posted(self, request: Request) -> bytes:
        if request.method != "POST":
            raise MethodNotAllowedError(f"{request.method[:20]} is not served here: use POST")
        # Another site's page can send JSON only after a preflight, which nobody answers here.
        kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise _MediaTypeError("say it as JSON: content-type application/json")
        self._rates.check(f"address:{request.address}")
        return await request.body(MAX_BODY, timeout=TIMEOUT)

    async def _say(self, body: bytes) -> Answer:
        saying = _saying(body)
        receipt = await self._line.publish(CHAT, msgspec.to_builtins(saying))
        body = msgspec.json.encode({"message_id": receipt.message_id if receipt else None})
        return Answer(200, [("content-type", "application/json")], body)


def _saying(body: bytes) -> Saying:
    try:
        saying = _decoder.decode(body)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"say {{name, text}} as JSON: {error}") from error
    name, text = saying.name.strip(), saying.text.strip()
    if not name or not text:
        raise UsageError("say who you are, and something besides blanks")
    return Saying(name, text)


def _page_files() -> dict[str, bytes]:
    folder = resources.files("trunkline.demo").joinpath("page")
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in TYPES
    }


def _identify(request: Request) -> Identity:
    """Let whoever sits at this machine be the operator."""
    host = (request.header("host") or "").rpartition(":")[0] or request.header("host") or ""
    # The name is looked at too, or a stranger's domain that resolves to loopback would do.
    return Identity(is_admin=is_loopback(request.address) and is_loopback(host.strip("[]")))


def _may_read(_: Identity, channel: str) -> bool:
    return channel.startswith("/demo/")


def demo_line(log: str, **settings: Any) -> Trunkline:
    """Make the demo's line.

    Args:
        log: URL of the log.
        **settings: As for :class:`trunkline.Trunkline`.
    """
    channels = {CHAT: CHAT_LIMITS, VITALS: VITALS_LIMITS, f"{board.CHANNEL}*": board.LIMITS}
    return Trunkline(log, channels=channels, diagnostics=True, **settings)


def demo_application(line: Trunkline) -> Application:
    """Make the ASGI application: the gateway, and the demo's page around it.

    Args:
        line: As from :func:`demo_line`.
    """
    return line.gateway(identify=_identify, access=_may_read, wrapped=DemoSite(line))
