"""Entities in a real Chromium: two tabs converge, whatever happens to the server between."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from trunkline.testing.servers import Server, trunkline_serve

pytestmark = pytest.mark.browser

WATCH = """([transport, id, key]) => {
  window.told = [];
  window.line = new Trunkline("/", { transports: [transport], backoff: { base: 50, cap: 300 } });
  if (key) line.setSecret(key);
  window.watched = line.watch("things", id, (state) => told.push([state.removed, state.value]), {
    onRefused: ({ code }) => told.push(["refused", code]),
    onError: ({ code }) => told.push(["failed", code]),
  });
}"""
CHANGE = (
    """([id, value]) => fetch("/thing", { method: "POST", body: JSON.stringify([id, value]) })"""
)


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    log = f"sqlite:///{tmp_path_factory.mktemp('things') / 'line.db'}"
    running = trunkline_serve(
        "thing_app:app", directory=Path(__file__).parent, environment={"TRUNKLINE_LOG": log}
    )
    async with running:
        yield running


@pytest.fixture
async def other(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    context.set_default_timeout(15_000)
    yield await context.new_page()
    await context.close()


async def watch(page: Page, server: Server, transport: str, *more: Any) -> None:
    await page.goto(server.url + "/page")
    await page.wait_for_function("() => window.ready")
    await page.evaluate(WATCH, [transport, *more])
    await page.wait_for_function("() => told.length > 0")


async def shows(page: Page, value: Any) -> None:
    holds = "(value) => JSON.stringify(told.at(-1)) === JSON.stringify(value)"
    await page.wait_for_function(holds, arg=value)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_two_tabs_converge(server: Server, page: Page, other: Page, transport: str) -> None:
    thing = f"t-{transport}"
    await watch(page, server, transport, thing)
    await watch(other, server, transport, thing)
    for tab in (page, other):
        await shows(tab, [True, None])
    for number in range(20):
        writer, reader = (page, other) if number % 2 else (other, page)
        await writer.evaluate(CHANGE, [thing, {"number": number}])
        await shows(reader, [False, {"number": number}])
        await shows(writer, [False, {"number": number}])
    # While the server is away one tab has no way to hear; afterwards both show what is.
    await server.kill9()
    await server.restart()
    await page.evaluate(CHANGE, [thing, {"number": "after"}])
    for tab in (page, other):
        await shows(tab, [False, {"number": "after"}])
    await page.evaluate(CHANGE, [thing, None])
    for tab in (page, other):
        await shows(tab, [True, None])


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_coming_back_fetches_nothing_that_did_not_change(
    server: Server, page: Page, transport: str
) -> None:
    thing = f"back-{transport}"
    await watch(page, server, transport, thing)
    await page.evaluate(CHANGE, [thing, 1])
    await shows(page, [False, 1])
    told = await page.evaluate("() => told.length")
    fetched = await page.evaluate("() => fetch('/fetched').then((reply) => reply.json())")
    await page.evaluate("() => line.reconnect()")
    await page.wait_for_function("() => line.status === 'live'")
    await page.evaluate(CHANGE, ["another", 1])
    again = await page.evaluate("() => fetch('/fetched').then((reply) => reply.json())")
    assert again == fetched
    assert await page.evaluate("() => told.length") == told
    await page.evaluate(CHANGE, [thing, 2])
    await shows(page, [False, 2])


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_secret_opens_and_its_loss_closes(
    server: Server, page: Page, transport: str
) -> None:
    thing = f"secret-{transport}"
    await watch(page, server, transport, thing, "wrong")
    await page.evaluate(CHANGE, [thing, "treasure"])
    await page.evaluate("() => line.setSecret('sesame')")
    await shows(page, [False, "treasure"])
    await page.evaluate("() => line.setSecret('wrong')")
    await shows(page, [True, None])


async def test_refusals_and_failures_are_told(server: Server, page: Page) -> None:
    await watch(page, server, "websocket", "denied")
    await shows(page, ["refused", "access-denied"])
    await watch(page, server, "sse", "broken")
    await shows(page, ["failed", "fetch-failed"])
    await page.evaluate(CHANGE, ["broken", "mended"])
    await shows(page, [False, "mended"])
    await page.evaluate("() => { watched.unwatch(); }")
    assert await page.evaluate("() => line.status") == "closed"


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Server]:
    words = [sys.executable, "-m", "trunkline.cli", "demo", "--port", "{port}"]
    environment = {"XDG_CACHE_HOME": str(tmp_path), "NO_COLOR": "1"}
    async with Server(words, environment=environment, directory=tmp_path) as server:
        yield server


async def test_the_demos_board_is_edited_in_one_tab_and_seen_in_another(
    demo: Server, page: Page, other: Page
) -> None:
    for tab in (page, other):
        await tab.goto(demo.url)
        await tab.wait_for_selector("#items li[data-version]")
    await page.fill("#items li:nth-child(2) input:not([type])", "Mend the lamp")
    await page.keyboard.press("Enter")
    await expect(other.locator("#items li:nth-child(2) input:not([type])")).to_have_value(
        "Mend the lamp"
    )
    await other.check("#items li:nth-child(2) [type=checkbox]")
    await expect(page.locator("#items li:nth-child(2)")).to_have_class("done news")
    await demo.kill9()
    await demo.restart()
    await page.fill("#items li:nth-child(6) input:not([type])", "Still here")
    await page.keyboard.press("Enter")
    last = other.locator("#items li:nth-child(6) input:not([type])")
    await expect(last).to_have_value("Still here", timeout=30_000)
