"""The site under ``trunkline serve``, and the line it serves opened in the test's process too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from trunkline import Trunkline
from trunkline.testing.servers import Server, trunkline_serve

NUMBERS = count(1)
USUAL = {
    "long_polling_enabled": True,
    "chunked_encoding_enabled": True,
    "long_polling_interval": 25,
}


class Site(NamedTuple):
    """Be a served site and its line."""

    server: Server
    line: Trunkline

    @property
    def url(self) -> str:
        return self.server.url

    def channel(self) -> str:
        """Return a channel that nobody used."""
        return f"/room/{next(NUMBERS)}"

    async def publish(self, channel: str, *data: Any) -> None:
        await self.line.publish_many([(channel, one) for one in data])

    async def switch(self, **options: Any) -> None:
        """Set options of the running gateway."""
        query = {name: msgspec.json.encode(value).decode() for name, value in options.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + "/switch", params=query) as response,
        ):
            assert response.status == 200


@contextlib.asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    """Serve the site from a log in a folder."""
    log = f"sqlite:///{folder / 'line.db'}"
    server = trunkline_serve(
        "site_app:gateway", directory=Path(__file__).parent, environment={"TRUNKLINE_LOG": log}
    )
    async with Trunkline(log) as line, server:
        yield Site(server, line)
        assert "Traceback" not in server.output()
