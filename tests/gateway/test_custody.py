"""An identity that expires is asked for again: the same goes on, anything else ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.gateway.serving import SERVERS
from tests.gateway.talker import a_gateway, talking, wait_until
from trunkline.model.identity import Identity

pytestmark = pytest.mark.parametrize("server", SERVERS)


class Door:
    """Know a user for a moment at a time, as long as the test wants."""

    def __init__(self):
        self.asked = 0
        self.user = "ann"
        self.granted = True
        self.error = None

    async def identify(self, request):
        self.asked += 1
        assert request.query["token"] == ["t"]
        if self.asked > 1 and self.error:
            raise self.error
        if self.user is None:
            return None
        return Identity(user_id=self.user, expires_at=time.time() + 0.1)

    async def access(self, identity, channel):
        return self.granted


async def renewed(door, times):
    import anyio

    with anyio.fail_after(10):
        while door.asked < times:
            await anyio.sleep(0.01)


async def test_a_valid_identity_goes_on(server):
    door = Door()
    hooks = {"identify": door.identify, "access": door.access}
    async with a_gateway(server, **hooks) as (line, _, port), talking(port, "?token=t") as talker:
        await talker.ask("subscribe", channels=["/a"])
        await talker.until("live")
        await renewed(door, 4)
        await line.bus.publish("/a", 1)
        assert (await talker.until("message"))[-1]["data"] == 1


@pytest.mark.parametrize("change", ["unknown", "other", "no-access", "error"])
async def test_anything_else_ends(server, change):
    door = Door()
    hooks = {"identify": door.identify, "access": door.access}
    async with a_gateway(server, **hooks) as (_, _, port), talking(port, "?token=t") as talker:
        await talker.ask("subscribe", channels=["/a"])
        await talker.until("live")
        if change == "unknown":
            door.user = None
        elif change == "other":
            door.user = "bob"
        elif change == "no-access":
            door.granted = False
        else:
            door.error = OSError("no database")
        told, code = await talker.closed()
        assert code == 4001
        assert (told[-1]["type"], told[-1]["reason"]) == ("goodbye", "expired")


async def test_nothing_is_told_before_it_is_known_who_listens(server):
    """An answer about a channel that comes meanwhile must not set the connection going."""
    renewing, renewed, answering, answered = (asyncio.Event() for _ in range(4))

    async def identify(request):
        if seen:
            renewing.set()
            await renewed.wait()
            return None
        seen.append(Identity(user_id="ann", expires_at=time.time() + 0.3))
        return seen[0]

    async def access(identity, channel):
        answering.set()
        await answered.wait()
        return True

    seen = []
    hooks = {"identify": identify, "access": access}
    async with a_gateway(server, **hooks) as (line, gateway, port), talking(port) as talker:
        await talker.ask("subscribe", channels=["/a/*"])
        await talker.until("live")
        await line.bus.publish("/a/1", 1)
        async with asyncio.timeout(10):
            await answering.wait()
            await renewing.wait()
            answered.set()
            await wait_until(lambda: gateway.context.gatekeeper.known(seen[0], "/a/1"))
        await talker.say("ping")
        told = await talker.until("pong")
        await talker.say("ping")
        told += await talker.until("pong")
        renewed.set()
        rest, code = await talker.closed()
        assert code == 4001
        assert "message" not in {one["type"] for one in [*told, *rest]}


async def test_what_was_granted_to_an_identity_is_not_given_to_the_next(server):
    """The hook's answer is on its way while the same user comes back without the group."""
    asking, answered = asyncio.Event(), asyncio.Event()

    async def identify(request):
        if seen:
            return Identity(user_id="ann")
        member = frozenset({"staff"})
        seen.append(Identity(user_id="ann", group_ids=member, expires_at=time.time() + 0.3))
        return seen[0]

    async def access(identity, channel):
        if channel == "/staff" and identity.group_ids:
            asking.set()
            await answered.wait()
            return True
        return channel == "/a"

    seen = []
    hooks = {"identify": identify, "access": access}
    async with a_gateway(server, **hooks) as (line, gateway, port), talking(port) as talker:
        await talker.ask("subscribe", channels=["/a"])
        await talker.until("live")
        await talker.say("subscribe", channels=["/staff"])
        async with asyncio.timeout(10):
            await asking.wait()
        (connection,) = gateway.board.connections
        await wait_until(lambda: connection.viewer.identity.expires_at is None)
        answered.set()
        told = (await talker.until("subscribed"))[-1]
        assert (told["channels"], [one["channel"] for one in told["refused"]]) == ([], ["/staff"])
        await line.bus.publish("/staff", 1)
        await line.bus.publish("/a", 2)
        assert (await talker.until("message"))[-1]["data"] == 2
