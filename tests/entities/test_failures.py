"""A fetch that raises, hangs or gives nonsense is its own watchers' trouble, and nobody else's."""

from __future__ import annotations

import asyncio
import math

import pytest

from tests.entities.screen import GONE, Screen
from tests.entities.shelves import Shelf, wait_until
from tests.gateway.serving import serving
from trunkline import Identity, Trunkline
from trunkline.entities import Row
from trunkline.errors import ConfigError

GOOD = ("items", "good")


class Trap(Shelf):
    """A shelf on which some things go off."""

    def __init__(self):
        super().__init__()
        self.armed = {}
        self.running = self.most = 0
        self.calls = []

    async def fetch(self, key, viewer):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._fetch(key, viewer)
        finally:
            self.running -= 1

    async def _fetch(self, key, viewer):
        trap = self.armed.get(key.id)
        if trap == "hang":
            await asyncio.sleep(3600)
        if trap == "cancel":
            raise asyncio.CancelledError
        if isinstance(trap, Exception):
            raise trap
        if trap is not None:
            return trap
        return await super().fetch(key, viewer)

    async def batch(self, wanted):
        self.calls.append([one.key.id for one in wanted])
        return [await self.fetch(key, viewer) for key, viewer in wanted]


def a_line(**options):
    line, trap = Trunkline("memory://"), Trap()
    options = {"timeout": 0.3, **options}
    line.entity("items", **options)(trap.batch if options.get("batch") else trap.fetch)
    return line, trap


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    ("trap", "code"),
    [
        (LookupError("the password is hunter2"), "fetch-failed"),
        ("hang", "fetch-timeout"),
        ("cancel", "fetch-failed"),
        (math.nan, "fetch-unencodable"),
        (object(), "fetch-unencodable"),
        ("\ud800", "fetch-unencodable"),
        ([{"deep": {1, 2}}, object()], "fetch-unencodable"),
        ("x" * 1_100_000, "fetch-too-large"),
        (Row(1, ("", "")), "fetch-failed"),
    ],
    ids=lambda one: one if isinstance(one, str) and len(one) < 20 and one.isascii() else "",
)
async def test_a_fetch_that_goes_wrong_is_told_and_tried_again(trap, code, batch):
    line, shelf = a_line(batch=batch)
    bad = ("items", "bad")
    async with (
        line,
        serving(line.gateway(open=True)) as port,
        Screen(port) as victim,
        Screen(port) as other,
    ):
        shelf.armed["bad"] = trap
        await other.watch(GOOD)
        await victim.watch(bad, GOOD)
        await victim.until(lambda one: one.failures)
        assert victim.failures == [(bad, code)]
        await shelf.put(line, *GOOD, "fine")
        for screen in (victim, other):
            await screen.shows(GOOD, "fine")
        assert other.failures == []
        shelf.armed.clear()
        shelf.things[bad] = "mended"
        await victim.shows(bad, "mended")
        assert victim.failures == [(bad, code)]


async def test_what_fails_is_told_without_the_applications_secrets():
    line, shelf = a_line()
    shelf.armed["bad"] = LookupError("the password is hunter2")
    told = []
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        screen._take, take = lambda one: (told.append(one), take(one)), screen._take
        await screen.watch(("items", "bad"))
        await screen.until(lambda one: one.failures)
    assert "hunter2" not in str(told)
    assert "hunter2" not in repr(shelf)


async def test_one_bad_state_does_not_spoil_its_batch():
    line, shelf = a_line(batch=True)
    keys = [("items", str(number)) for number in range(20)]
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(*keys)
        await screen.until(lambda one: len(one.shown) == 20)
        shelf.armed["7"] = LookupError("bad")
        shelf.calls.clear()
        shelf.things.update(dict.fromkeys(keys, "new"))
        await line.changed("items", *(key_id for _, key_id in keys))
        for key in keys:
            if key[1] != "7":
                await screen.shows(key, "new")
        await screen.until(lambda one: one.failures)
        assert {key for key, _ in screen.failures} == {("items", "7")}
        assert len(shelf.calls[0]) == 20
        assert all(len(call) == 1 for call in shelf.calls[1:])


async def test_a_batch_that_answers_too_few_fails_alone():
    line = Trunkline("memory://")

    @line.entity("items", batch=True)
    async def items(wanted):
        return ["only one", "too many"]

    @line.entity("maps", batch=True)
    async def maps(wanted):
        return {one: one.key.id for one in wanted if one.key.id != "none"}

    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(("items", "1"))
        await screen.until(lambda one: one.failures)
        await screen.watch(("maps", "1"), ("maps", "none"))
        await screen.shows(("maps", "1"), "1")
        await screen.shows(("maps", "none"), GONE)


async def test_fetches_at_a_time_are_bounded_and_hanging_ones_leave_places():
    line, shelf = a_line(concurrency=4, timeout=5.0)
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        shelf.armed.update(dict.fromkeys(map(str, range(50)), "hang"))
        await screen.watch(*(("items", str(number)) for number in range(50)))
        await wait_until(lambda: shelf.running == 4)
        shelf.armed.clear()
        await screen.until(lambda one: len(one.shown) >= 46)
        assert shelf.most == 4


async def test_repeated_failures_leave_half_of_the_places_to_others():
    line, shelf = a_line(concurrency=4, timeout=0.3)
    async with (
        line,
        serving(line.gateway(open=True)) as port,
        Screen(port) as hostile,
        Screen(port) as other,
    ):
        bad = [str(number) for number in range(30)]
        shelf.armed.update(dict.fromkeys(bad, "hang"))
        await hostile.watch(*(("items", one) for one in bad))
        await hostile.until(lambda one: len(one.failures) == 30)
        shelf.most = 0
        await other.watch(GOOD)
        for number in range(20):
            await shelf.put(line, *GOOD, number)
            await other.shows(GOOD, number, within=2.0)


async def test_two_fetches_of_a_state_keep_their_distance():
    line, shelf = a_line(interval=0.4)
    loop = asyncio.get_running_loop()
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(GOOD)
        await screen.until(lambda one: one.shown)
        began = loop.time()
        for number in range(50):
            await shelf.put(line, *GOOD, number)
        await screen.shows(GOOD, 49)
        assert len(shelf.asked) <= 2 + (loop.time() - began) / 0.4


async def test_a_scope_that_raises_refuses_and_changing_to_it_removes():
    line, shelf = Trunkline("memory://"), Shelf()

    def scope(viewer):
        if viewer.secret == "bad":
            raise LookupError("no such role")
        return {1} if viewer.secret == "set" else viewer.secret

    line.entity("items", scope=scope)(shelf.fetch)
    line.entity("odd", scope=lambda _: object())(shelf.fetch)
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        told = await screen.watch(("odd", "1"), GOOD)
        assert [one["code"] for one in told["refused"]] == ["bad-request"]
        await screen.shows(GOOD, GONE)
        await screen.ask("secret", secret="set")
        await screen.ask("secret", secret="bad")
        await screen.until(lambda one: GOOD in one.refused)
        assert line.entities.watched == 0


async def test_what_is_declared_wrong_is_told_where_it_is_declared():
    line = Trunkline("memory://")

    async def fetch(key, viewer): ...

    for name, options, why in [
        ("a", {"bogus": 1}, "no option"),
        ("a", {"batch_size": 0}, "batch_size"),
        ("a", {"timeout": "long"}, "timeout"),
        ("a", {"concurrency": True}, "concurrency"),
        ("a", {"access": lambda *_: True}, "coroutine function"),
    ]:
        with pytest.raises(ConfigError, match=why):
            line.entity(name, **options)(fetch)
    with pytest.raises(ConfigError, match="coroutine function"):
        line.entity("a")(lambda key, viewer: None)
    for name in ("", "x" * 65, "\n", 7):
        with pytest.raises(ValueError, match="entity's name"):
            line.entity(name)(fetch)


@pytest.mark.parametrize("trap", ["raises", "hangs", "says yes"])
async def test_an_access_that_cannot_be_decided_refuses_that_entity_alone(trap):
    line, shelf = Trunkline("memory://"), Shelf()

    async def access(key, viewer):
        if key.id != "bad":
            return True
        if trap == "raises":
            raise LookupError("the password is hunter2")
        if trap == "hangs":
            await asyncio.sleep(3600)
        return "yes"

    line.entity("items", access=access, timeout=0.2)(shelf.fetch)
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        told = await screen.watch(("items", "1"), ("items", "bad"), GOOD)
        code = "access-denied" if trap == "says yes" else "access-undecided"
        assert screen.refused == {("items", "bad"): code}
        assert "hunter2" not in str(told)
        await shelf.put(line, *GOOD, 1)
        await screen.shows(GOOD, 1)


async def test_too_many_watches_are_refused_one_by_one():
    line, shelf = Trunkline("memory://", max_watches=3), Shelf()
    line.entity("items")(shelf.fetch)
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as screen:
        await screen.watch(("items", "1"), ("items", "2"))
        told = await screen.watch(("items", "3"), ("items", "4"), ("items", "1"))
        assert [one["id"] for one in told["entities"]] == ["3", "1"]
        assert screen.refused == {("items", "4"): "limit-exceeded"}
        told = await screen.watch(*(("items", str(number)) for number in range(4)))
        assert (told["type"], told["code"]) == ("error", "limit-exceeded")
        await screen.unwatch(("items", "1"))
        told = await screen.watch(("items", "5"))
        assert told["refused"] == []


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"type": "watch"}, "grammar"),
        ({"type": "watch", "entities": []}, "grammar"),
        ({"type": "watch", "entities": {}}, "grammar"),
        ({"type": "watch", "entities": [["items", "1"]]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "items"}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "items", "id": 1}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "items", "id": None}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "items", "id": ""}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "", "id": "1"}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "items", "id": "x" * 256}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "items", "id": "\x00"}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "i", "id": "1", "version": "7"}]}, "grammar"),
        ({"type": "watch", "entities": [{"entity": "i", "id": "1", "version": 7}]}, "grammar"),
        ({"type": "unwatch", "entities": [{"entity": "items", "id": 7}]}, "grammar"),
        ({"type": "secret"}, "grammar"),
        ({"type": "secret", "secret": 7}, "grammar"),
        ({"type": "secret", "secret": {}}, "grammar"),
    ],
)
async def test_a_malformed_request_is_answered_by_its_id_and_harms_nobody(members, code):
    line, shelf = a_line()
    async with (
        line,
        serving(line.gateway(open=True)) as port,
        Screen(port) as screen,
        Screen(port) as other,
    ):
        await other.watch(GOOD)
        kind = members.pop("type")
        told = await screen.ask(kind, **members)
        assert (told["type"], told["code"]) == ("error", code)
        await screen.watch(GOOD)
        await shelf.put(line, *GOOD, 1)
        for one in (screen, other):
            await one.shows(GOOD, 1)


async def test_a_forged_version_costs_nobody_but_its_forger():
    line, shelf = a_line()
    async with line, serving(line.gateway(open=True)) as port, Screen(port) as honest:
        await shelf.put(line, *GOOD, 1)
        await honest.watch(GOOD)
        await honest.shows(GOOD, 1)
        epoch, mark = honest.versions[GOOD].split("-")[0], honest.versions[GOOD].split(".")[1]
        for version in (f"{epoch}-999999.{mark}", f"other-1.{mark}", f"{epoch}-0.{'0' * 12}"):
            async with Screen(port) as forger:
                told = await forger.ask(
                    "watch", entities=[{"entity": "items", "id": "good", "version": version}]
                )
                assert told["current"] == []
                await forger.shows(GOOD, 1)
        await shelf.put(line, *GOOD, 2)
        await honest.shows(GOOD, 2)


async def test_a_revoked_viewer_is_shown_nothing_more():
    line, shelf = a_line()
    gateway = line.gateway(
        identify=lambda request: Identity(user_id=request.query["user"][0]),
        access=lambda *_: True,
    )
    async with (
        line,
        serving(gateway) as port,
        Screen(port, query="?user=ann") as ann,
        Screen(port, query="?user=bob") as bob,
    ):
        await ann.watch(GOOD)
        await bob.watch(GOOD)
        await line.revoke(user_id="ann")
        await ann.until(lambda one: not one.is_connected)
        await shelf.put(line, *GOOD, 1)
        await bob.shows(GOOD, 1)
        assert ann.shown.get(GOOD) in {None, GONE}
    await gateway.close()
