"""Django: the example project on ASGI and WSGI servers, its commands, and its static files."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.integrations.orders import EXAMPLES, orders_reach_their_users
from tests.store.databases import postgres_url  # noqa: F401 - a fixture
from trunkline.client import Client
from trunkline.testing.servers import Server

PROJECT = EXAMPLES / "django"
MINE = "/users/1/orders"


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """Prepare a shop with its users in a folder of its own."""
    place = {"SHOP_FOLDER": str(tmp_path), "DJANGO_SETTINGS_MODULE": "shop.settings"}
    manage(place, "demo", "--only-prepare")
    return place


def manage(place: dict[str, str], *words: str, check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=PROJECT,
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asgi(place: dict[str, str]) -> Server:
    command = [sys.executable, "manage.py", "demo", "--port", "{port}"]
    return Server(command, directory=PROJECT, environment=place)


def serve(place: dict[str, str]) -> Server:
    command = [sys.executable, "manage.py", "trunkline", "serve", "--port", "{port}"]
    return Server(command, directory=PROJECT, environment=place)


async def signed_in(server: Server, name: str) -> dict[str, str]:
    async with aiohttp.ClientSession() as http:
        form = {"name": name, "password": name}
        async with http.post(f"{server.url}/login", data=form) as answer:
            assert answer.status == 204
            return {"Cookie": f"sessionid={answer.cookies['sessionid'].value}"}


@pytest.mark.parametrize("run", [asgi, serve])
async def test_orders_reach_their_users_and_nobody_else(run: Any, place: dict[str, str]) -> None:
    async with run(place) as server:
        people = {name: await signed_in(server, name) for name in ("ann", "bob")}
        for transport in ("sse", "websocket", "poll"):
            await orders_reach_their_users(server, transport=transport, mine=MINE, **people)


async def test_what_is_rolled_back_is_never_told(place: dict[str, str]) -> None:
    async with asgi(place) as server:
        ann = await signed_in(server, "ann")
        async with aiohttp.ClientSession(headers=ann) as http:
            for number, status in ((0, 500), (7, 200)):
                async with http.post(f"{server.url}/orders/{number}") as answer:
                    assert answer.status == status
        async with (
            Client(f"{server.url}/events", transport="sse", headers=ann) as client,
            asyncio.timeout(20),
        ):
            first = await anext(client.subscribe(MINE, position=0))
            assert (first.message_id, first.data) == (1, {"order": 7})


async def test_a_saved_model_reaches_those_who_watch_it(place: dict[str, str]) -> None:
    async with asgi(place) as server:
        ann = await signed_in(server, "ann")
        async with aiohttp.ClientSession(headers=ann) as http:
            async with http.post(f"{server.url}/orders/7") as answer:
                order = (await answer.json())["id"]
            async with (
                Client(f"{server.url}/events", headers=ann) as client,
                asyncio.timeout(20),
            ):
                watch = client.watch("orders", order)
                assert (await anext(watch)).value == {"number": 7}
                change = "from shop.models import Order; o = Order.objects.get(); o.number = 8"
                await asyncio.to_thread(manage, place, "shell", "-c", f"{change}; o.save()")
                assert (await anext(watch)).value == {"number": 8}


async def test_commands_know_the_settings_and_a_worker_the_handlers(place: dict[str, str]) -> None:
    assert manage(place, "trunkline", "publish", MINE, '{"order": 9}')
    worker = [sys.executable, "manage.py", "trunkline", "worker"]
    process = await asyncio.create_subprocess_exec(
        *worker, cwd=PROJECT, env={**os.environ, **place}
    )
    try:
        tail = ("trunkline", "tail", "/mails", "--after", "0", "--count", "1")
        assert "order 9 is confirmed" in await asyncio.to_thread(manage, place, *tail)
    finally:
        process.terminate()
        assert await process.wait() == 0
    assert "/events" in manage(place, "trunkline", "config")
    assert manage(place, "check") == "System check identified no issues (0 silenced).\n"


def test_static_files_have_the_browser_client(place: dict[str, str], tmp_path: Path) -> None:
    assert manage(place, "findstatic", "trunkline/trunkline.js").count("trunkline.js") == 2
    environment = {**place, "PYTHONPATH": str(PROJECT)}
    code = (
        "import django; django.setup(); from django.core.management import call_command;"
        "from django.test import override_settings\n"
        f"with override_settings(STATIC_ROOT={str(tmp_path / 'static')!r}):\n"
        "    call_command('collectstatic', interactive=False, verbosity=0)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)
    assert (tmp_path / "static/trunkline/trunkline.js").is_file()
    assert (tmp_path / "static/trunkline/trunkline/sse.js").is_file()


async def test_gunicorn_answers_polls_without_holding(place: dict[str, str]) -> None:
    environment = {**place, "PYTHONPATH": str(PROJECT)}
    wsgi = "trunkline.integrations.django.wsgi:get_wsgi_application()"
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "--preload", "-b", "127.0.0.1:{port}"]
    async with Server([*command, wsgi], directory=PROJECT, environment=environment) as server:
        people = {name: await signed_in(server, name) for name in ("ann", "bob")}
        await orders_reach_their_users(server, transport="poll", mine=MINE, **people)


SETTINGS = """
from shop.settings import *

DATABASES = {"default": %r}
"""


async def test_on_postgresql_the_line_is_in_the_database(
    postgres_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        found = admin.info
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": found.user,
            "PASSWORD": found.password,
            "HOST": found.host,
            "PORT": found.port,
        }
    (tmp_path / "on_postgres.py").write_text(SETTINGS % database)
    place = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "on_postgres"}
    manage(place, "demo", "--only-prepare")
    assert manage(place, "trunkline", "publish", "/a", "1")
    async with asgi(place) as server:
        people = {who: await signed_in(server, who) for who in ("ann", "bob")}
        await orders_reach_their_users(server, mine=MINE, **people)
    shop = make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(shop) as found_there:
        tables = found_there.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'trunkline'"
        )
        assert tables.fetchone() != (0,)
