"""What entity-sync does wrong stays right here, on every engine."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
import websockets

from tests.entities.screen import GONE, Screen
from tests.entities.shelves import a_shop, place, wait_until  # noqa: F401 - a fixture
from trunkline import Trunkline
from trunkline.entities.wing import UnknownEntityError
from trunkline.errors import ConfigError, LogError, UsageError

pytestmark = pytest.mark.slow

ITEM = ("items", "100")


async def test_row_16_a_disconnect_during_a_push_harms_nobody(place):  # noqa: F811
    async with a_shop(place.line()) as shop, Screen(shop.port) as stays:
        await stays.watch(ITEM)
        for number in range(40):
            goes = Screen(shop.port)
            await goes.connect()
            await goes.watch(ITEM)
            # Changed, and gone before the push is written.
            changing = asyncio.create_task(shop.shelf.put(shop.line, *ITEM, number))
            goes._ws.transport.abort()
            await changing
            await goes.disconnect()
        await stays.shows(ITEM, 39)


async def test_row_16_a_storm_of_subscriptions_during_pushes_harms_nobody(place):  # noqa: F811
    async with a_shop(place.line()) as shop, Screen(shop.port) as calm, Screen(shop.port) as wild:
        await calm.watch(ITEM)
        stop = asyncio.Event()

        async def storm():
            while not stop.is_set():
                for base in range(0, 200, 50):
                    keys = [("items", str(number)) for number in range(base, base + 50)]
                    await wild.watch(*keys)
                    await wild.unwatch(*keys)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(storm())
            for number in range(200):
                await shop.shelf.put(shop.line, "items", str(number), number)
            await shop.shelf.put(shop.line, *ITEM, "last")
            await calm.shows(ITEM, "last")
            stop.set()
        await wild.watch(ITEM)
        await wild.shows(ITEM, "last")


async def test_row_16_a_client_that_never_reads_harms_nobody(place):  # noqa: F811
    line = place.line(slow_timeout=2.0)
    async with a_shop(line) as shop, Screen(shop.port) as reads:
        await reads.watch(ITEM)
        with _mute(shop.port) as sock:
            await asyncio.to_thread(_open_and_watch, sock, shop.port, *ITEM)
            await wait_until(lambda: len(shop.shelf.asked) >= 2)
            for number in range(60):
                value = [number, "x" * 200_000]
                loop = asyncio.get_running_loop()
                began = loop.time()
                await shop.shelf.put(shop.line, *ITEM, {"row": value})
                await reads.shows(ITEM, {"row": value}, within=5.0)
                assert loop.time() - began < 5.0
            await wait_until(lambda: _connections(line) == 1)


async def test_row_17_keys_are_pairs_and_no_joined_text(place):  # noqa: F811
    one, other = ("a", "b.c"), ("a.b", "c")
    async with (
        a_shop(place.line(), "a", "a.b") as shop,
        Screen(shop.port) as first,
        Screen(shop.port) as second,
    ):
        await first.watch(one)
        await second.watch(other)
        await shop.shelf.put(shop.line, *one, "of a")
        await first.shows(one, "of a")
        await shop.shelf.put(shop.line, *other, "of a.b")
        await second.shows(other, "of a.b")
        assert first.shown == {one: ["of a"]}
        assert [key for key, _ in second.pushes] == [other, other]


async def test_row_18_registering_twice_is_an_error_and_doubles_nothing(place):  # noqa: F811
    line = place.line()
    async with a_shop(line) as shop, Screen(shop.port) as screen:

        async def other(key, viewer):
            return "other"

        with pytest.raises(ConfigError, match="declared already"):
            line.entity("items")(other)
        line.on_client_message(other)
        with pytest.raises(ConfigError, match="receiver already"):
            line.on_client_message(other)
        await screen.watch(ITEM)
        await screen.watch(ITEM)
        await screen.until(lambda one: one.shown)
        for number in range(3):
            await shop.shelf.put(line, *ITEM, number)
            await screen.shows(ITEM, number)
        values = [value for _, value in screen.pushes]
        assert values == [GONE, [0], [1], [2]]


async def test_row_19_notifying_an_unknown_kind_raises_an_ordinary_error(place):  # noqa: F811
    async with a_shop(place.line()) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM)
        for wrong in ("nothing", "", "x" * 300, 7):
            with pytest.raises(UsageError):
                await shop.line.changed(wrong, "1")
        with pytest.raises(UnknownEntityError, match="declare it with"):
            await shop.line.changed("nothing", "1")
        for wrong in ("", None, 1.5, True, "x" * 300, "\ud800", "\n", b"1", ("1",)):
            with pytest.raises(UsageError):
                await shop.line.changed("items", wrong)
        await shop.shelf.put(shop.line, *ITEM, "goes on")
        await screen.shows(ITEM, "goes on")


async def test_row_20_after_an_engine_was_away_everybody_converges(place):  # noqa: F811
    keys = [("items", str(number)) for number in range(5)]
    async with a_shop(place.line()) as shop, Screen(shop.port) as screen:
        await screen.watch(*keys)
        await screen.until(lambda one: len(one.shown) == 5)
        if place.rig is not None:
            place.rig.proxy.refuse()
            place.rig.proxy.cut()
        changing = [
            asyncio.create_task(_insist(shop, key, f"{round_} {key}"))
            for round_ in range(3)
            for key in keys
        ]
        await asyncio.sleep(0)
        if place.rig is not None:
            place.rig.proxy.heal()
        async with asyncio.timeout(60):
            await asyncio.gather(*changing)
        for key in keys:
            await screen.shows(key, shop.shelf.things[key], within=30)


async def test_row_20_a_change_in_a_time_without_the_engine_is_seen_afterwards(place):  # noqa: F811
    """Another line goes on while the server's own way to the engine, if there is one, is cut."""
    line = place.line()
    url = place.url if place.rig is None else place.rig.direct_url
    writer = line if place.engine == "memory" else Trunkline(url, entity_prefix=line.entity_prefix)
    async with a_shop(line) as shop, Screen(shop.port) as screen:
        if writer is not line:
            writer.entity("items")(shop.shelf.fetch)
        await screen.watch(ITEM)
        await screen.until(lambda one: one.shown)
        if place.rig is not None:
            place.rig.proxy.refuse()
            place.rig.proxy.cut()
        for number in range(10):
            await shop.shelf.put(writer, *ITEM, number)
        if place.rig is not None:
            place.rig.proxy.heal()
        await screen.shows(ITEM, 9, within=30)
        await writer.close()


async def _insist(shop, key, value):
    """Change until the notice is stored."""
    while True:
        try:
            await shop.shelf.put(shop.line, *key, value)
        except LogError:
            await asyncio.sleep(0.02)
        else:
            return


def _mute(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    return sock


def _open_and_watch(sock, port, entity, key_id):
    """Shake hands and watch, and read nothing that follows."""
    head = (
        f"GET /ws HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\n"
        "connection: Upgrade\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    sock.sendall(head.encode())
    got = b""
    while b"\r\n\r\n" not in got:
        got += sock.recv(1)
    request = {"id": 1, "type": "watch", "entities": [{"entity": entity, "id": key_id}]}
    sock.sendall(_masked(json.dumps(request).encode()))


def _masked(payload):
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def _connections(line):
    (doorway,) = line._doorways
    return len(doorway.gateway.board.connections)


async def test_the_old_socket_knows_no_size_limit_of_512_bytes(place):  # noqa: F811
    async with a_shop(place.line()) as shop:
        url = f"ws://127.0.0.1:{shop.port}/ws/entity-sync/"
        async with websockets.connect(url) as ws:
            await ws.send(json.dumps({"action": "secret", "body": "s" * 60_000}))
            body = {"entity": "items", "id": "100"}
            await ws.send(json.dumps({"action": "subscribe", "body": body}))
            await wait_until(lambda: shop.line.entities.watched)
            await shop.shelf.put(shop.line, *ITEM, {"name": "lamp"})
            async with asyncio.timeout(10):
                assert json.loads(await ws.recv()) == {"name": "lamp"}
            assert len(shop.shelf.asked[0][1].secret) == 60_000
