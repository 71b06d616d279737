"""An app store in one file: an account installs an app, and the app hears what happens.

An app, a server of its own, asks for two signals. An account installs it, and approves one that
the app asks for later. A lesson is updated three times quickly: the app receives one signed
request, with the last state.

    pip install 'trunkline[webhooks]'
    python examples/app_store.py
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aiohttp import web

from trunkline import Trunkline
from trunkline.webhooks.signal import Signal
from trunkline.wire.signature import VerifyingKey, verify

# -- the host ---------------------------------------------------------------------------------


@dataclass
class Lesson:
    """A lesson; a table in memory stands for the database."""

    id: int
    name: str
    table: ClassVar[dict[int, Lesson]] = {}

    @classmethod
    def find(cls, ident: int) -> Lesson:
        """Load a lesson."""
        return cls.table[ident]

    def save(self) -> None:
        """Store it."""
        self.table[self.id] = self


class LessonSignal(Signal):
    """What apps may hear of lessons."""

    object_class = Lesson
    signal_name = "lesson"
    actions = ("updated", "destroyed")

    async def payload(self):
        """Return what is sent, read at that time."""
        lesson = await self.load()
        return {"lesson": {"id": lesson.id, "name": lesson.name}}

    def destroyed_context(self):
        """Capture what will be gone when it is sent."""
        return {"name": self.object.name}

    async def destroyed_payload(self):
        """Return what is sent of a lesson that is gone."""
        return {"lesson": {"id": self.object_id, "was": self.context["name"]}}


# -- the app, somebody else's server ----------------------------------------------------------


class QuizApp:
    """Receive signals, and believe those alone that the host has signed."""

    def __init__(self) -> None:
        self.key: VerifyingKey | None = None
        self.received: asyncio.Queue[dict] = asyncio.Queue()

    async def hook(self, request: web.Request) -> web.Response:
        """Take a request; one that isn't signed ends as an error."""
        body = await request.read()
        verify(request.headers, body, [self.key], now=time.time())
        self.received.put_nowait(json.loads(body))
        return web.Response(status=204)

    async def serve(self) -> tuple[web.AppRunner, str]:
        """Listen on a free port; return what stops it, and its URL."""
        application = web.Application()
        application.router.add_post("/hook", self.hook)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"


# -- the store --------------------------------------------------------------------------------


async def main() -> None:
    """Run it all in one process; a host would run ``trunkline worker`` beside its web server."""
    quiz = QuizApp()
    runner, url = await quiz.serve()
    folder = tempfile.TemporaryDirectory()
    line = Trunkline(
        f"sqlite:///{Path(folder.name) / 'host.db'}",
        # Only because the app is on this machine: requests go to public https addresses alone.
        webhooks={"delivery": {"http": True, "networks": ["127.0.0.0/8"]}},
    )
    line.webhooks.declare(LessonSignal)
    async with line:
        app = await line.apps.create("Quiz", signals=["user"], signal_url=url)
        quiz.key = VerifyingKey.read(await line.apps.reveal_secret(app.id))
        connection = await line.connections.connect(app.id, account_id=7)

        app = await line.apps.update(app.id, signals=["user", "lesson"])
        connection = await line.connections.get(connection.id)
        print("the app waits for", *connection.pending)
        connection = await line.connections.grant(connection.id, "lesson")
        print("the account grants", *connection.signals)

        for name in ("Algebra", "Algebra 1", "Algebra I"):
            Lesson(4, name).save()
            await line.signal(LessonSignal(4, account_id=7), "updated")

        line.start_services()
        async with asyncio.timeout(30):
            print("the app hears", json.dumps((await quiz.received.get())["data"]))
    print("more requests:", quiz.received.qsize())
    await runner.cleanup()
    folder.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
