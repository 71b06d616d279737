"""What is revoked ends at once, in every process, and nothing else does."""

from __future__ import annotations

import pytest

from tests.gateway.edge import ManualClock, a_line
from tests.gateway.serving import serving
from tests.gateway.talker import talking, wait_until
from trunkline.errors import UsageError
from trunkline.gateway.intercom import REVOKE
from trunkline.gateway.revoke import Revocation, Revocations, Revoker
from trunkline.model.identity import Identity, Viewer


def viewer(client_id=None, **identity):
    return Viewer(Identity(**identity), client_id, strict=False)


@pytest.mark.parametrize(
    ("revocation", "hit", "spared"),
    [
        ({"user_id": 7}, viewer(user_id="7"), viewer(user_id="8")),
        ({"user_id": "7"}, viewer(user_id=7), viewer()),
        ({"client_id": "c"}, viewer("c"), viewer("d")),
        ({"site_id": "s"}, viewer(site_id="s"), viewer()),
        ({"group_id": 1}, viewer(group_ids=frozenset({"1", 2})), viewer(group_ids=frozenset({2}))),
        (
            {"user_id": "a", "site_id": "s"},
            viewer(user_id="a", site_id="s"),
            viewer(user_id="a", site_id="t"),
        ),
    ],
)
def test_all_that_is_given_must_hold(revocation, hit, spared):
    given = Revocation(**revocation)
    assert given.hits(hit)
    assert not given.hits(spared)


async def test_saying_nobody_is_an_error():
    async with a_line() as line:
        with pytest.raises(UsageError, match="user_id="):
            await Revoker(line.bus).revoke()
        assert (await line.bus.position()).global_id == 0


async def test_live_connections_end_in_every_process():
    def identify(request):
        return Identity(user_id=request.query["user"][0])

    async with a_line() as line:
        first, second = (line.gateway(identify=identify, access=lambda *_: True) for _ in "12")
        async with (
            serving(first) as one,
            serving(second, "uvicorn") as two,
            talking(one, "?user=ann") as ann,
            talking(two, "?user=ann") as ann_too,
            talking(two, "?user=bob") as bob,
        ):
            await ann.ask("subscribe", channels=["/a"])
            await Revoker(line.bus).revoke(user_id="ann")
            for talker in (ann, ann_too):
                told, code = await talker.closed()
                assert code == 4003
                assert (told[-1]["type"], told[-1]["reason"]) == ("goodbye", "revoked")
            assert (await bob.ask("ping"))["type"] == "pong"
            await wait_until(lambda: not first.board.connections)
            async with talking(one, "?user=ann") as again:
                assert (await again.ask("ping"))["type"] == "pong"
        await first.close()
        await second.close()


async def test_what_was_granted_through_a_pattern_is_asked_for_anew():
    granted = {"/a/1", "/open"}

    async def access(identity, channel):
        return channel in granted

    async with a_line() as line:
        gateway = line.gateway(identify=lambda _: Identity(user_id="ann"), access=access)
        async with serving(gateway) as port:
            for expected in ("/a/1", "/open"):
                async with talking(port) as talker:
                    await talker.ask("subscribe", channels=["/a/*", "/open"])
                    await talker.until("live")
                    for channel in ("/a/1", "/open"):
                        await line.bus.publish(channel, 1)
                    assert (await talker.until("message"))[-1]["channel"] == expected
                    granted.discard("/a/1")
                    await Revoker(line.bus).revoke(user_id="ann")
                    assert (await talker.closed())[1] == 4003
        await gateway.close()


async def test_whoever_is_revoked_while_a_connection_is_being_made_does_not_get_it():
    async with a_line() as line:

        async def identify(request):
            heard = gateway.context.intercom
            await Revoker(line.bus).revoke(user_id="ann")
            await line.bus.publish_internal(REVOKE, {})
            while not hit_since():
                import anyio

                await anyio.sleep(0.005)
            assert heard
            return Identity(user_id="ann")

        def hit_since():
            return len(recent) > 0

        gateway = line.gateway(identify=identify, access=lambda *_: True)
        recent = _recent(gateway)
        async with serving(gateway) as port, talking(port) as talker:
            _, code = await talker.closed()
            assert code == 4003
        await gateway.close()


def _recent(gateway):
    """Find where the process remembers what was revoked lately."""
    hear, _ = gateway.context.intercom._hearers[REVOKE]
    return hear.__self__._recent


def test_old_revocations_are_forgotten_and_new_ones_remembered():
    clock = ManualClock()
    ended = []
    revocations = Revocations(ended.append, lambda: None, clock)
    revocations.hear({"user_id": "ann"})
    assert len(ended) == 1
    assert revocations.hit_since(viewer(user_id="ann"), clock.time)
    assert not revocations.hit_since(viewer(user_id="bob"), clock.time)
    assert not revocations.hit_since(viewer(user_id="ann"), clock.time + 1)
    clock.time += 1000
    revocations.hear({"client_id": "c"})
    assert not revocations.hit_since(viewer(user_id="ann"), 0.0)
    assert revocations.hit_since(viewer("c"), 0.0)
    revocations.hear({})
    assert len(ended) == 2


async def test_whoever_may_have_missed_a_revocation_asks_everybody_again():
    async with a_line() as line:
        gateway = line.gateway()
        async with serving(gateway) as port, talking(port) as talker:
            await talker.ask("subscribe", channels=["/a"])
            await line.log.reset()
            assert (await talker.until("gap"))[-1]["reason"] == "reset"
            _, on_loss = gateway.context.intercom._hearers[REVOKE]
            on_loss()
            told, code = await talker.closed()
            assert (told[-1]["reason"], code) == ("shutdown", 1012)
        await gateway.close()
