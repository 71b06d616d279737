"""A real Chromium for the browser tests, and the npm packages they load into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Error, Page, async_playwright

from tests.browser.sites import USUAL, Site, a_site

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",  # the tests may run as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MODULES = Path(__file__).parent / "node_modules"


def executable() -> str:
    """Find the Chromium to test with: $CHROMIUM, else the system's."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail(
            f"no Chromium: none of {', '.join(NAMES)} is on the path. Run `make test`, which "
            "installs it where it may, or `sudo apt-get install chromium`, or set CHROMIUM",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="session")
async def browser(anyio_backend: object) -> AsyncIterator[Browser]:
    """Start one headless Chromium for all browser tests of this process."""
    path = executable()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, headless=True, args=list(QUIET)
        )
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Open a page of its own for each test; an uncaught error in it fails the test."""
    context = await browser.new_context()
    context.set_default_timeout(15_000)
    page = await context.new_page()
    errors: list[Error] = []
    page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - no builtin allowed
    try:
        yield page
    finally:
        await context.close()
    assert not errors, "uncaught in the page: " + "; ".join(map(str, errors))


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Serve the site for all tests of a module."""
    async with a_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
async def switched_back(site: Site) -> AsyncIterator[None]:
    """Switch the site's options back after a test that may switch them."""
    yield
    await site.switch(**USUAL)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Return the folder with the pinned npm packages."""
    missing = [name for name in ("jquery", "message-bus-client") if not (MODULES / name).is_dir()]
    if missing:
        pytest.fail(
            f"{', '.join(missing)} not in tests/browser/node_modules: run `make test`, or "
            "`python3 tools/setup.py dev browser`",
            pytrace=False,
        )
    return MODULES
