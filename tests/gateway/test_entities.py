"""Entities beside channels on every server: asked for by id, resumed, re-authorised."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.entities.screen import GONE, Screen
from tests.entities.shelves import Shelf, wait_until
from tests.gateway.serving import SERVERS, serving
from tests.gateway.stall import ITEM, Stall
from trunkline import Identity, Trunkline
from trunkline.entities import Row
from trunkline.errors import AccessDeniedError


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


async def test_a_watch_is_acknowledged_then_shown_then_told_each_change(server):
    async with Stall(server) as shop, Screen(shop.port) as screen:
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
    async with Stall(server) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM)
        await screen.ask("subscribe", channels=["/a"])
        await shop.line.publish("/a", "hello")
        await shop.put(1)
        await screen.shows(ITEM, 1)
        await screen.until(lambda one: any(x.get("data") == "hello" for x in one.others))


async def test_resuming_fetches_nothing_that_did_not_change(server):
    async with Stall(server) as shop, Screen(shop.port) as screen:
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
    async with Stall(server) as shop:
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
    async with Stall(server) as shop, Screen(shop.port) as screen:
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
    async with Stall(server, max_backlog_size=3) as shop, Screen(shop.port) as screen:
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
    async with Stall(server) as shop, Screen(shop.port) as screen:

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

    async with Stall(server, access=access) as shop, Screen(shop.port) as screen:
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

    async with Stall(server, access=access) as shop, Screen(shop.port) as screen:
        await screen.watch(ITEM)
        await screen.until(lambda one: one.shown)
        await screen.disconnect()
        banned.add("ann")
        await screen.connect()
        assert screen.refused == {ITEM: "access-denied"}
        assert screen.current == []


async def test_a_fetch_that_denies_at_first_refuses_and_later_removes(server):
    async with Stall(server) as shop, Screen(shop.port) as screen:
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
    async with Stall(server) as shop, Screen(shop.port) as screen:
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
    async with Stall(server, entity_pass_unknown=True) as shop, Screen(shop.port) as screen:

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
    async with Stall(server, scope=lambda viewer: None) as shop:
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
    async with Stall(server, batch=True) as shop:
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
    async with Stall(server) as shop, Screen(shop.port) as screen:

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
