"""Options are checked when the client is made, and credentials come in every allowed form."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from trunkline.client import Client
from trunkline.client.settings import Settings
from trunkline.errors import ConfigError, GrammarError, MissingExtraError, UsageError


@pytest.mark.parametrize(
    "options",
    [
        {"transport": "carrier-pigeon"},
        {"client_id": "a\nb"},
        {"first_delay": 0},
        {"first_delay": 5, "max_delay": 1},
        {"silence_timeout": -1},
        {"buffer_messages": "many"},
        {"publish_timeout": True},
    ],
)
def test_a_value_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, GrammarError)):
        Client("http://127.0.0.1", **options)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError):
        Client("http://127.0.0.1", colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize("url", ["", "/x", "ftp://x", "http://", "http://x/?a=1", "http://x/#a"])
def test_a_base_url_is_checked(url: str) -> None:
    with pytest.raises(ConfigError):
        Client(url)


@pytest.mark.parametrize("url", ["http://h", "https://h:1/b/", "ws://h", "wss://h/x"])
def test_base_urls(url: str) -> None:
    Client(url)


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        (None, {}),
        ("t", {"authorization": "Bearer t"}),
        (lambda: "t", {"authorization": "Bearer t"}),
        (lambda: {"x": "1"}, {"x": "1"}),
    ],
)
async def test_credentials(given: Any, headers: dict[str, str]) -> None:
    assert await Settings(token=given).credentials() == headers


async def test_other_credentials_are_refused() -> None:
    with pytest.raises(UsageError):
        await Settings(token=lambda: 5).credentials()  # type: ignore[arg-type,return-value]


def test_without_aiohttp_the_message_says_what_to_install() -> None:
    program = """
import sys
sys.modules["aiohttp"] = None
from trunkline.client import Client, MessageBusClient
from trunkline.errors import MissingExtraError
for kind in (Client, MessageBusClient):
    try:
        kind("http://127.0.0.1")
    except MissingExtraError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("pip install 'trunkline[client]'") == 2
    assert issubclass(MissingExtraError, ImportError)
