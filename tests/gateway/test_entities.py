"""Entities beside channels on every server: asked for by id, resumed, re-authorised, streamed."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
import websockets

from tests.entities.screen import GONE, Screen
from tests.entities.shelves import Shelf, wait_until
from tests.gateway.serving import SERVERS, serving
from trunkline import Identity, Trunkline
from trunkline.entities import Row
from trunkline.errors import AccessDeniedError

ITEM = ("items", "100")


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


class Shop:
    """Serve a shelf in memory, whose things have an owner in their value."""

    def __init__(self, server="handed-over", *, scope=None, access=None, batch=False, **settings):
        self.line = Trunkline("memory://", **settings)
        self.shelf = Shelf()
        self.server = server
        self.calls = []
        options = {"scope": scope, "access": access, "batch": batch, "timeout": 1.0}
        self.line.entity("items", **options)(self.batch if batch else self.shelf.fetch)

    async def batch(self, wanted):
        self.calls.append(len(wanted))
        return [await self.shelf.fetch(key, viewer) for key, viewer in wanted]

    async def __aenter__(self):
        await self.line.open()
        self.gateway = self.line.gateway(identify=_identify, access=lambda *_: True)
        self._serving = serving(self.gateway, self.server)
        self.port = await self._serving.__aenter__()
        return self

    async def __aexit__(self, *told):
        await self._serving.__aexit__(*told)
        await self.gateway.close()
        await self.line.close()

    async def put(self, value, key=ITEM):
        await self.shelf.put(self.line, *key, value)


def _identify(request):
    user = request.query.get("user", ["ann"])[0]
    return Identity(user_id=user, expires_at=LIVES.get(user))


LIVES: dict = {}


async def test_a_watch_is_acknowledged_then_shown_then_told_each_change(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:
        shop.shelf.things[ITEM] = {"name": "a"}
        told = await screen.watch(ITEM, ("items", "none"), ("nothing", "1"))
        assert [one["id"] for one in told["entities"]] == ["100", "none"]
        assert screen.refused == {("nothing", "1"): "unknown-entity"}
        await screen.shows(ITEM, {"name": "a"})
        await screen.shows(("items", "none"), GONE)
        await shop.put({"name": "b"})
        await screen.shows(ITEM, {"name": "b"})
        told = await screen.unwatch(ITEM, ("items", "never"))
        assert told["entities"] == [{"entity": "items", "id": "100"}]
        await shop.put({"name": "c"})
        await shop.put("x", ("items", "none"))
        await screen.shows(("items", "none"), "x")
        assert screen.shown[ITEM] == [{"name": "b"}]
        await wait_until(lambda: shop.line.entities.watched == 1)


async def test_channels_and_entities_share_a_socket(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM)
        await screen.ask("subscribe", channels=["/a"])
        await shop.line.publish("/a", "hello")
        await shop.put(1)
        await screen.shows(ITEM, 1)
        await screen.until(lambda one: any(x.get("data") == "hello" for x in one.others))


async def test_resuming_fetches_nothing_that_did_not_change(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM, ("items", "2"), ("items", "3"))
        await screen.until(lambda one: len(one.shown) == 3)
        await screen.disconnect()
        await shop.put("new", ("items", "2"))
        asked = len(shop.shelf.asked)
        await screen.connect()
        await screen.shows(("items", "2"), "new")
        assert sorted(screen.current) == [ITEM, ("items", "3")]
        assert [key.id for key, _ in shop.shelf.asked[asked:]] == ["2"]
        await shop.put("later")
        await screen.shows(ITEM, "later")


async def test_another_viewer_never_resumes_with_what_the_first_was_shown(server):
    async with Shop(server) as shop:
        async with Screen(shop.port, query="?user=ann") as ann:
            await shop.put("hers")
            await ann.watch(ITEM)
            await ann.shows(ITEM, "hers")
        bob = Screen(shop.port, query="?user=bob")
        bob.versions = dict(ann.versions)
        async with bob:
            await bob.watch(ITEM)
            assert bob.current == []
            await bob.shows(ITEM, "hers")


async def test_what_a_new_process_does_not_remember_it_reads_or_fetches(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM, ("items", "2"))
        await screen.until(lambda one: len(one.shown) == 2)
        await screen.disconnect()
        await shop.put("new")
        await shop.line.entities.close()  # what was heard is forgotten, as by a restart
        asked = len(shop.shelf.asked)
        await screen.connect()
        await screen.shows(ITEM, "new")
        assert screen.current == [("items", "2")]
        assert len(shop.shelf.asked) == asked + 1


async def test_trimmed_notices_count_as_changes(server):
    async with Shop(server, max_backlog_size=3) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM)
        await screen.until(lambda one: one.shown)
        await screen.disconnect()
        for number in range(6):
            await shop.put(number, ("items", "other"))
        await shop.line.entities.close()
        asked = len(shop.shelf.asked)
        await screen.connect()
        await wait_until(lambda: len(shop.shelf.asked) == asked + 1)
        assert screen.current == []


async def test_a_secret_is_given_to_the_fetch_and_changing_it_authorises_anew(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:

        @shop.line.entity("vault")
        async def vault(key, viewer):
            return "gold" if viewer.secret == "sesame" else None

        await screen.watch(("vault", "1"))
        await screen.shows(("vault", "1"), GONE)
        await screen.ask("secret", secret="sesame")
        await screen.shows(("vault", "1"), "gold")
        pushes = len(screen.pushes)
        await screen.ask("secret", secret="sesame")
        await screen.ask("secret", secret=None)
        await screen.shows(("vault", "1"), GONE)
        assert len(screen.pushes) == pushes + 1


async def test_losing_access_removes_and_regaining_it_shows(server):
    banned = set()

    async def access(key, viewer):
        return viewer.user_id not in banned

    async with Shop(server, access=access) as shop, Screen(shop.port) as screen:
        await shop.put(1)
        await screen.watch(ITEM)
        await screen.shows(ITEM, 1)
        banned.add("ann")
        await shop.put(2)
        await screen.shows(ITEM, GONE)
        async with Screen(shop.port) as other:
            await other.watch(ITEM)
            assert other.refused == {ITEM: "access-denied"}
        banned.clear()
        await shop.put(3)
        await screen.shows(ITEM, 3)


async def test_resuming_asks_for_access_again(server):
    banned = set()

    async def access(key, viewer):
        return viewer.user_id not in banned

    async with Shop(server, access=access) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM)
        await screen.until(lambda one: one.shown)
        await screen.disconnect()
        banned.add("ann")
        await screen.connect()
        assert screen.refused == {ITEM: "access-denied"}
        assert screen.current == []


async def test_a_fetch_that_denies_at_first_refuses_and_later_removes(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:
        is_open = False

        @shop.line.entity("club")
        async def club(key, viewer):
            if not is_open:
                raise AccessDeniedError("members only")
            return "in"

        await screen.watch(("club", "1"))
        await screen.until(lambda one: one.refused)
        assert screen.refused == {("club", "1"): "access-denied"}
        assert shop.line.entities.watched == 0
        is_open = True
        await screen.watch(("club", "1"))
        await screen.shows(("club", "1"), "in")
        is_open = False
        await shop.line.changed("club", "1")
        await screen.shows(("club", "1"), GONE)


async def test_an_identity_that_expires_is_asked_for_and_its_entities_with_it(server):
    groups = {"ann": frozenset({"staff"})}
    line, shelf = Trunkline("memory://"), Shelf()

    def identify(request):
        soon = line._clock.now() + 0.4
        return Identity(user_id="ann", group_ids=groups["ann"], expires_at=soon)

    @line.entity("papers")
    async def papers(key, viewer):
        return "secret plan" if "staff" in viewer.group_ids else None

    gateway = line.gateway(identify=identify, access=lambda *_: True)
    async with line, serving(gateway, server) as port, Screen(port) as screen:
        await screen.watch(("papers", "1"))
        await screen.shows(("papers", "1"), "secret plan")
        groups["ann"] = frozenset()
        await screen.shows(("papers", "1"), GONE)
        assert screen.is_connected
        assert shelf.asked == []
    await gateway.close()


async def test_messages_of_the_application_go_to_it_and_are_answered(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:
        begun, go = asyncio.Event(), asyncio.Event()

        @shop.line.on_client_message
        async def receive(message):
            if message.data == {"wait": True}:
                begun.set()
                await go.wait()
            message.reply({"to": message.data, "secret": message.viewer.secret})

        await screen.ask("secret", secret="s")
        await screen.send(json.dumps({"wait": True}))
        await screen.send(json.dumps({"id": 77, "hello": "x"}))
        async with asyncio.timeout(5):
            await begun.wait()
        # Off the read loop: while the application is busy, requests are served.
        assert (await screen.ask("ping"))["type"] == "pong"
        assert screen.replies == []
        go.set()
        await screen.until(lambda one: len(one.replies) == 2)
        assert [one["data"]["to"] for one in screen.replies] == [
            {"wait": True}, {"id": 77, "hello": "x"},
        ]  # fmt: skip
        assert screen.replies[1]["id"] == 77
        assert {one["data"]["secret"] for one in screen.replies} == {"s"}


async def test_a_setting_passes_what_is_not_understood_too(server):
    async with Shop(server, entity_pass_unknown=True) as shop, Screen(shop.port) as screen:

        @shop.line.on_client_message
        async def receive(message):
            message.reply(message.text)

        for text in ("no json", '{"type":"dance","id":4}', "[1]", '{"x":1}'):
            await screen.send(text)
        await screen.until(lambda one: len(one.replies) == 4)
        assert [one["data"] for one in screen.replies][:3] == [
            "no json", '{"type":"dance","id":4}', "[1]",
        ]  # fmt: skip
        told = await screen.ask("watch", entities=[])
        assert told["code"] == "grammar"


async def test_viewers_of_a_scope_share_a_fetch_and_bursts_coalesce(server):
    async with Shop(server, scope=lambda viewer: None) as shop:
        screens = [Screen(shop.port, query=f"?user={n}") for n in range(20)]
        for screen in screens:
            await screen.connect()
            await screen.watch(ITEM)
            await screen.until(lambda one: one.shown)
        shop.shelf.asked.clear()
        await shop.put(1)
        for screen in screens:
            await screen.shows(ITEM, 1)
        assert len(shop.shelf.asked) == 1
        shop.shelf.asked.clear()
        async with asyncio.TaskGroup() as tasks:
            for number in range(2, 102):
                tasks.create_task(shop.put(number))
        for screen in screens:
            await screen.shows(ITEM, shop.shelf.things[ITEM])
            await screen.disconnect()
        assert len(shop.shelf.asked) <= 100


async def test_many_scopes_are_asked_for_in_batches(server):
    async with Shop(server, batch=True) as shop:
        screens = [Screen(shop.port, query=f"?user={n}") for n in range(60)]
        for screen in screens:
            await screen.connect()
            await screen.watch(ITEM)
            await screen.until(lambda one: one.shown)
        shop.calls.clear()
        await shop.put("all")
        for screen in screens:
            await screen.shows(ITEM, "all")
            await screen.disconnect()
        assert len(shop.calls) <= 3
        assert sum(shop.calls) == 60


async def test_rows_of_other_entities_carry_their_keys(server):
    async with Shop(server) as shop, Screen(shop.port) as screen:

        @shop.line.entity("orders")
        async def orders(key, viewer):
            return [{"order": key.id}, Row({"line": 1}, ("lines", 1)), Row([1, 2])]

        told = []
        screen._take, take = lambda one: (told.append(one), take(one)), screen._take
        await screen.watch(("orders", "7"))
        await screen.until(lambda one: one.shown)
        (push,) = (one for one in told if one["type"] == "entity")
        assert push["rows"] == [
            {"entity": "orders", "id": "7", "value": {"order": "7"}},
            {"entity": "lines", "id": "1", "value": {"line": 1}},
            {"entity": "orders", "id": "7", "value": [1, 2]},
        ]


async def events(response):
    """Iterate over a stream's events as (name, data)."""
    name, data = "message", None
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data = json.loads(line[6:])
        elif not line:
            if data is not None:
                yield name, data
            name, data = "message", None


async def test_a_stream_shows_entities_beside_channels(server):
    params = [
        ("channel", "/a"),
        ("watch", '["items","100"]'),
        ("watch", '["nothing","1"]'),
    ]
    async with Shop(server) as shop, aiohttp.ClientSession() as http:
        await shop.put(1)
        url = f"http://127.0.0.1:{shop.port}/sse"
        headers = {"x-trunkline-secret": "s"}
        async with asyncio.timeout(15), http.get(url, params=params, headers=headers) as response:
            told = events(response)
            assert (await anext(told))[0] == "ready"
            name, data = await anext(told)
            assert name == "watching"
            assert [one["code"] for one in data["refused"]] == ["unknown-entity"]
            name, data = await anext(told)
            assert (name, data["rows"][0]["value"]) == ("entity", 1)
            version = data["version"]
            await shop.line.publish("/a", "x")
            name, data = await anext(told)
            assert (name, data["data"]) == ("message", "x")
            await shop.put(2)
            name, data = await anext(told)
            assert (name, data["rows"][0]["value"]) == ("entity", 2)
            assert shop.shelf.asked[-1][1].secret == "s"
            newer = data["version"]
        for known, current in ((newer, 1), (version, 0)):
            watch = {"watch": json.dumps(["items", "100", known])}
            async with http.get(url, params=watch, headers=headers) as response:
                told = events(response)
                await anext(told)
                name, data = await anext(told)
                assert (name, len(data["current"])) == ("watching", current)


@pytest.mark.parametrize(
    "watch",
    ["", "items/1", '["items"]', '["items",1]', '["items","1","yesterday"]', '["","1"]', "[1,2]"],
)
async def test_a_stream_refuses_what_is_no_entity(watch):
    async with Shop() as shop, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{shop.port}/sse"
        async with http.get(url, params={"watch": watch}) as response:
            assert response.status == 400
            assert (await response.json())["type"].endswith("grammar")


async def old(shop, **how):
    return await websockets.connect(f"ws://127.0.0.1:{shop.port}/ws/entity-sync/", **how)


def said(action, body):
    return json.dumps({"action": action, "body": body})


async def test_entity_syncs_clients_are_pushed_raw_rows_in_order(server):
    async with Shop(server) as shop, await old(shop) as ws:
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
    async with Shop(server) as shop, await old(shop) as ws:

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


async def test_entity_syncs_clients_err_in_silence_and_stay(server):
    wrong = ["no json", "[1]", "7", said("dance", {}), said("subscribe", None), said("secret", 7)]
    wrong += [said("subscribe", {"entity": "items", "id": 5}), said("subscribe", {"entity": "x"})]
    wrong += [said("subscribe", {"entity": "nothing", "id": "5"})]
    async with Shop(server) as shop, await old(shop) as ws:
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
    async with Shop(server, entity_path="/sync") as shop:
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
