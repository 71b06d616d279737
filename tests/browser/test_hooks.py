"""Hooks in a real React, and the classic script, in a real Chromium."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from trunkline.testing.servers import Server, trunkline_serve

pytestmark = pytest.mark.browser


@pytest.fixture
async def server(tmp_path: Path, node_modules: Path) -> AsyncIterator[Server]:
    environment = {"TRUNKLINE_LOG": f"sqlite:///{tmp_path}/line.db"}
    directory = Path(__file__).parent
    async with trunkline_serve(
        "react_app:app", directory=directory, environment=environment
    ) as server:
        yield server
        assert "Traceback" not in server.output()


async def tell(server: Server, path: str, *what: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url + path, json=list(what)) as response,
    ):
        assert response.status == 200


async def test_hooks_show_channels_entities_and_who_is_there(server: Server, page: Page) -> None:
    await tell(server, "/thing", "1", "a lamp")
    for number in range(5):
        await tell(server, "/say", "/room", number)
    await page.goto(server.url)
    await expect(page.locator("#room[data-status=live]")).to_have_count(1)
    await expect(page.locator("#messages")).to_have_text("2,3,4")
    await expect(page.locator("#value")).to_have_text("a lamp")
    await expect(page.locator("#members")).to_have_text("1")
    await tell(server, "/thing", "1", None)
    await tell(server, "/say", "/room", 5)
    await expect(page.locator("#value")).to_have_text("gone")
    await expect(page.locator("#messages")).to_have_text("3,4,5")
    await tell(server, "/thing", "2", "another")
    await tell(server, "/say", "/other", "x")
    await page.evaluate("() => show({ channel: '/other', item: '2' })")
    await expect(page.locator("#value")).to_have_text("another")
    await expect(page.locator("#messages")).to_have_text("x")
    await expect(page.locator("#members")).to_have_text("0")
    await page.evaluate("() => show(null)")
    await page.wait_for_function("() => line.status === 'closed'")


async def test_the_classic_script_shares_its_connection_too(server: Server, page: Page) -> None:
    other = await page.context.new_page()
    for tab in (page, other):
        await tab.goto(f"{server.url}/classic")
        assert await tab.evaluate("() => trunkline.mine") is True
    await tell(server, "/say", "/room", 1)
    await tell(server, "/thing", "1", "a lamp")
    for tab in (page, other):
        await tab.wait_for_function("() => got.length === 1")
        await tab.wait_for_function("() => shown.at(-1) === 'a lamp'")
        await tab.wait_for_function("() => there.at(-1) === 1")  # one connection is one client
    await other.evaluate("() => { shown.length = 0; }")
    await page.close()
    await tell(server, "/say", "/room", 2)
    await tell(server, "/thing", "1", "a chair")
    await other.wait_for_function("() => shown.at(-1) === 'a chair'")
    assert await other.evaluate("() => shown") == ["a chair"]
    await other.wait_for_function("() => got.length === 2")
    assert await other.evaluate("() => got") == [1, 2]
    assert await other.evaluate("() => line.transport") == "websocket"
