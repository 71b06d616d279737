"""The browser tests' own ground: a real Chromium runs the real npm packages."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


async def test_the_real_client_loads_in_a_real_browser(page, node_modules) -> None:
    await page.goto("data:text/html,<title>ground</title>")

    await page.add_script_tag(path=node_modules / "jquery/dist/jquery.js")
    await page.add_script_tag(path=node_modules / "message-bus-client/assets/message-bus.js")

    assert await page.evaluate("typeof MessageBus.subscribe") == "function"
    assert (await page.evaluate("jQuery.fn.jquery")).startswith("3.")
    assert "Chrome" in await page.evaluate("navigator.userAgent")


async def test_each_test_has_a_page_of_its_own(page) -> None:
    assert page.url == "about:blank"
    assert len(page.context.pages) == 1
