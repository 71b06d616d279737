"""JavaScript that the documents show runs in a real Chromium, against a real server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.browser.sites import Site

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
#: What the readers have of their own.
THEIRS = "const show = (what) => { shown.push(what); }; console.log = show;\n"
#: The pages, and what their programs listen to, in order.
PAGES = {"docs/tutorial.md": "/orders/9", "README.md": "/orders/7"}


def programs(page: str) -> list[str]:
    """Return a page's JavaScript blocks."""
    return re.findall(r"^```js\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
async def test_a_program_of_the_documents_shows_what_is_published(
    name: str, site: Site, page: Page
) -> None:
    (program,) = programs(name)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    await page.goto(f"{site.url}/native")
    await page.evaluate("() => { window.shown = []; }")
    await page.add_script_tag(type="module", content=THEIRS + program)
    async with asyncio.timeout(30):  # one that listens from now on hears what comes later
        while not await page.evaluate("() => shown.length"):
            await site.publish(PAGES[name], {"status": "paid"})
            await asyncio.sleep(0.05)
    found = await page.evaluate("() => shown[0]")  # the data, or the message it is in
    assert found.get("data", found) == {"status": "paid"}
    assert failures == []
