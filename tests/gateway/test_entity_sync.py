"""entity-sync's own protocol on every server, and two applications on one log."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets

from tests.entities.screen import GONE, Screen
from tests.entities.shelves import Shelf, wait_until
from tests.gateway.serving import SERVERS, serving
from tests.gateway.stall import ITEM, Stall
from trunkline import Trunkline


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


async def old(shop, **how):
    return await websockets.connect(f"ws://127.0.0.1:{shop.port}/ws/entity-sync/", **how)


def said(action, body):
    return json.dumps({"action": action, "body": body})


async def test_entity_syncs_clients_are_pushed_raw_rows_in_order(server):
    async with Stall(server) as shop, await old(shop) as ws:
        body = {"entity": "items", "id": "100"}
        await ws.send(json.dumps({"Action": "subscribe", "Body": {"Entity": "items", "ID": "100"}}))
        await ws.send(said("subscribe", body))
        await wait_until(lambda: shop.line.entities.watched)
        for number in range(5):
            await shop.put([{"n": number}, {"row": 2}])
            async with asyncio.timeout(5):
                assert json.loads(await ws.recv()) == {"n": number}
                assert json.loads(await ws.recv()) == {"row": 2}
        # The same content is pushed again: this protocol tells changes, not differences.
        await shop.put([{"n": 4}, {"row": 2}])
        async with asyncio.timeout(5):
            assert json.loads(await ws.recv()) == {"n": 4}
            assert json.loads(await ws.recv()) == {"row": 2}
        await shop.put(None)
        await ws.send(said("unsubscribe", body))
        await wait_until(lambda: not shop.line.entities.watched)
        await shop.put("unseen")
        head = (await shop.line.position()).global_id
        await wait_until(lambda: shop.line._hub.head >= head)
        await ws.send(said("subscribe", body))
        await wait_until(lambda: shop.line.entities.watched)
        await shop.put("seen")
        async with asyncio.timeout(5):
            assert json.loads(await ws.recv()) == "seen"


async def test_entity_syncs_secret_holds_at_the_next_push_and_for_messages(server):
    async with Stall(server) as shop, await old(shop) as ws:

        @shop.line.on_client_message
        async def receive(message):
            message.reply([message.text, message.viewer.secret])

        await ws.send(said("subscribe", {"entity": "items", "id": "100"}))
        await ws.send(said("secret", "one"))
        await ws.send("null")
        await ws.send(said("secret", "two"))
        await ws.send('{"action":"","free":"form"}')
        async with asyncio.timeout(5):
            assert json.loads(await ws.recv()) == ["null", "one"]
            assert json.loads(await ws.recv()) == ['{"action":"","free":"form"}', "two"]
        await shop.put("x")
        async with asyncio.timeout(5):
            assert json.loads(await ws.recv()) == "x"
        assert shop.shelf.asked[-1][1].secret == "two"


async def test_a_secret_sent_during_a_push_loses_no_change(server):
    async with Stall(server) as shop, await old(shop) as ws:
        begun, go = asyncio.Event(), asyncio.Event()

        @shop.line.entity("slow")
        async def slow(key, viewer):
            begun.set()
            await go.wait()
            return viewer.secret

        await ws.send(said("subscribe", {"entity": "slow", "id": "1"}))
        await wait_until(lambda: shop.line.entities.watched)
        await shop.line.changed("slow", "1")
        await begun.wait()
        await ws.send(said("secret", "new"))
        await ws.send(said("subscribe", {"entity": "items", "id": "100"}))
        await wait_until(lambda: shop.line.entities.watched == 2)
        go.set()
        async with asyncio.timeout(5):
            assert json.loads(await ws.recv()) == "new"


async def test_entity_syncs_clients_err_in_silence_and_stay(server):
    wrong = ["no json", "[1]", "7", said("dance", {}), said("subscribe", None), said("secret", 7)]
    wrong += [said("subscribe", {"entity": "items", "id": 5}), said("subscribe", {"entity": "x"})]
    wrong += [said("subscribe", {"entity": "nothing", "id": "5"})]
    async with Stall(server) as shop, await old(shop) as ws:
        for text in wrong:
            await ws.send(text)
        await ws.send(said("subscribe", {"entity": "items", "id": "100"}))
        await wait_until(lambda: shop.line.entities.watched)
        await shop.put("first")
        async with asyncio.timeout(5):
            assert json.loads(await ws.recv()) == "first"
        await ws.send("x" * 70_000)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            async with asyncio.timeout(5):
                await ws.recv()
        assert closed.value.rcvd.code == 1009


async def test_the_old_sockets_path_is_a_setting(server):
    async with Stall(server, entity_path="/sync") as shop:
        async with websockets.connect(f"ws://127.0.0.1:{shop.port}/sync"):
            pass
        with pytest.raises((websockets.InvalidStatus, websockets.InvalidHandshake)):
            await old(shop)


async def test_two_applications_on_one_log_never_mix(tmp_path):
    url = f"sqlite:///{tmp_path}/line.db"
    shelves = []
    async with (
        Trunkline(url, entity_prefix="one") as one,
        Trunkline(url, entity_prefix="two") as two,
    ):
        for line in (one, two):
            shelf = Shelf()
            line.entity("items")(shelf.fetch)
            shelves.append(shelf)
        async with serving(one.gateway(open=True)) as port, Screen(port) as screen:
            await screen.watch(ITEM)
            await screen.until(lambda s: s.shown)
            await shelves[1].put(two, *ITEM, "theirs")
            await shelves[0].put(one, *ITEM, "ours")
            await screen.shows(ITEM, "ours")
            assert len(shelves[0].asked) == 2
            assert [value for _, value in screen.pushes] == [GONE, ["ours"]]
