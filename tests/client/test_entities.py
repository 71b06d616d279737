"""The Python client watches entities through a real gateway, over reconnects."""

from __future__ import annotations

import asyncio

import pytest

from tests.entities.shelves import Shelf
from tests.gateway.serving import serving
from trunkline import Trunkline
from trunkline.client import Client
from trunkline.errors import AccessDeniedError, GrammarError, LineClosedError, UsageError


def a_line():
    line, shelf = Trunkline("memory://"), Shelf()
    line.entity("items")(shelf.fetch)

    @line.entity("vault")
    async def vault(key, viewer):
        if viewer.secret != "sesame":
            raise AccessDeniedError("closed")
        return shelf.things.get(tuple(key))

    return line, shelf


def client(port, **options):
    return Client(f"http://127.0.0.1:{port}", first_delay=0.01, max_delay=0.2, **options)


async def next_of(watch):
    async with asyncio.timeout(10):
        return await anext(watch)


async def test_a_watch_gives_the_present_state_and_each_that_follows():
    line, shelf = a_line()
    shelf.things["items", "1"] = "a"
    async with line, serving(line.gateway(open=True)) as port, client(port) as one:
        watch = one.watch("items", 1)
        state = await next_of(watch)
        assert (state.key, state.value, state.is_removed) == (("items", "1"), "a", False)
        await shelf.put(line, "items", "1", "b")
        assert (await next_of(watch)).value == "b"
        await shelf.drop(line, "items", "1")
        assert (await next_of(watch)).is_removed
        second = one.watch("items", "1")
        assert (await next_of(second)).is_removed
        watch.close()
        await shelf.put(line, "items", "1", "c")
        assert (await next_of(second)).value == "c"
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


async def test_a_slow_reader_gets_the_latest():
    line, shelf = a_line()
    async with line, serving(line.gateway(open=True)) as port, client(port) as one:
        watch = one.watch("items", "1")
        await next_of(watch)
        for number in range(50):
            await shelf.put(line, "items", "1", number)
        async with asyncio.timeout(10):
            while watch.latest.value != 49:
                await asyncio.sleep(0.005)
        assert (await next_of(watch)).value == 49


async def test_it_comes_back_and_goes_on_from_its_version():
    line, shelf = a_line()
    gateway = line.gateway(open=True)
    async with line, client_of(gateway) as (_, one):
        shelf.things["items", "1"] = "a"
        watch, other = one.watch("items", "1"), one.watch("items", "2")
        assert (await next_of(watch)).value == "a"
        assert (await next_of(other)).is_removed
        asked = len(shelf.asked)
        for connection in tuple(gateway.gateway.board.connections):
            connection.sink.abort()
        await shelf.put(line, "items", "1", "b")
        assert (await next_of(watch)).value == "b"
        # The other did not change and was not asked for again.
        assert [key.id for key, _ in shelf.asked[asked:]].count("2") == 0


class client_of:  # noqa: N801 - reads as a function
    """Serve a gateway and give its port and a client."""

    def __init__(self, gateway):
        self.serving = serving(gateway)

    async def __aenter__(self):
        port = await self.serving.__aenter__()
        self.client = client(port)
        return port, await self.client.__aenter__()

    async def __aexit__(self, *told):
        await self.client.__aexit__(*told)
        await self.serving.__aexit__(*told)


async def test_a_secret_opens_what_was_refused_without_it():
    line, shelf = a_line()
    shelf.things["vault", "1"] = "gold"
    async with line, serving(line.gateway(open=True)) as port, client(port) as one:
        with pytest.raises(AccessDeniedError, match="vault 1"):
            await next_of(one.watch("vault", "1"))
        one.set_secret("sesame")
        watch = one.watch("vault", "1")
        assert (await next_of(watch)).value == "gold"
        one.set_secret("wrong")
        assert (await next_of(watch)).is_removed


async def test_what_cannot_be_watched_raises():
    line, _ = a_line()
    async with line, serving(line.gateway(open=True)) as port:
        async with client(port) as one:
            with pytest.raises(UsageError, match="no entity"):
                await next_of(one.watch("nothing", "1"))
            with pytest.raises(GrammarError):
                one.watch("items", 1.5)
        with pytest.raises(LineClosedError):
            one.watch("items", "1")


async def test_a_server_that_knows_nobody_is_told():
    line, _ = a_line()
    gateway = line.gateway(identify=lambda _: None, access=lambda *_: True)
    async with line, serving(gateway) as port, client(port) as one:
        with pytest.raises(AccessDeniedError):
            await next_of(one.watch("items", "1"))


async def test_a_watch_that_the_rate_limit_dropped_is_asked_for_again():
    line, shelf = a_line()
    shelf.things["items", "3"] = "c"
    door = line.gateway(open=True)

    async def rest(_):
        door.gateway.options.requests_per_second = None

    async with line, serving(door) as port, client(port, sleep=rest) as one:
        await next_of(one.watch("items", "1"))
        options = door.gateway.options
        options.requests_per_second, options.burst = 0.001, 1
        await next_of(one.watch("items", "2"))  # takes what there is
        assert (await next_of(one.watch("items", "3"))).value == "c"
