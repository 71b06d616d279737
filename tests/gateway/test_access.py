"""Nobody is let in by default, and what the hooks say is what holds."""

from __future__ import annotations

import pytest

from tests.gateway.edge import ManualClock, scope_of
from trunkline.errors import AccessDeniedError, ConfigError
from trunkline.gateway.access import Gatekeeper, UnknownIdentityError
from trunkline.gateway.request import Request
from trunkline.model.identity import Identity

ANN = Identity(user_id="ann")


def request():
    return Request(scope_of("GET", "/"), None)


@pytest.mark.parametrize("hooks", [{}, {"identify": print}, {"access": print}])
def test_a_missing_hook_is_an_error(hooks):
    with pytest.raises(ConfigError, match="open=True"):
        Gatekeeper(**hooks)
    Gatekeeper(**hooks, open=True)


async def test_hooks_may_be_plain_or_coroutine_functions():
    async def identify(_):
        return ANN

    async def access(identity, channel):
        return channel == f"/users/{identity.user_id}"

    for keeper in (
        Gatekeeper(identify, access),
        Gatekeeper(lambda _: ANN, lambda who, channel: channel == f"/users/{who.user_id}"),
    ):
        assert await keeper.identify(request()) == ANN
        split = await keeper.split(ANN, ["/users/ann", "/users/bob", "/users/ann"])
        assert split.granted == ["/users/ann"]
        assert [(one.channel, one.code) for one in split.refused] == [
            ("/users/bob", "access-denied")
        ]


async def test_only_true_grants():
    for answer in (None, 1, "yes", object()):
        keeper = Gatekeeper(lambda _: ANN, lambda *_, answer=answer: answer)
        assert (await keeper.split(ANN, ["/a"])).granted == []
        assert await keeper.decide(ANN, "/a") is False


async def test_a_stranger_and_an_expired_identity_are_unknown():
    clock = ManualClock()
    with pytest.raises(UnknownIdentityError) as caught:
        await Gatekeeper(lambda _: None, lambda *_: True).identify(request())
    assert caught.value.status == 401
    keeper = Gatekeeper(lambda _: Identity(expires_at=clock.time + 5), lambda *_: True, clock=clock)
    identity = await keeper.identify(request())
    clock.time += 5
    assert keeper.is_expired(identity)
    expired = Gatekeeper(lambda _: identity, lambda *_: True, clock=clock)
    with pytest.raises(UnknownIdentityError):
        await expired.identify(request())


async def test_trunklines_own_channels_are_never_open():
    keeper = Gatekeeper(open=True)
    split = await keeper.split(ANN, ["/__trunkline/revoke", "/a"])
    assert split.granted == ["/a"]
    assert keeper.known(ANN, "/__trunkline/revoke") is False


async def test_a_pattern_is_decided_channel_by_channel():
    asked = []

    def access(_, channel):
        asked.append(channel)
        return not channel.startswith("/private/")

    keeper = Gatekeeper(lambda _: ANN, access)
    assert (await keeper.split(ANN, ["/**"])).granted == ["/**"]
    assert asked == []
    assert keeper.known(ANN, "/private/x") is None
    assert await keeper.decide(ANN, "/private/x") is False
    assert keeper.known(ANN, "/private/x") is False
    assert await keeper.decide(ANN, "/open") is True
    assert asked == ["/private/x", "/open"]


async def test_an_answer_is_asked_for_again_after_a_while_and_for_another_identity():
    clock = ManualClock()
    grants = [True]
    keeper = Gatekeeper(lambda _: ANN, lambda *_: grants[0], ttl=lambda: 10.0, clock=clock)
    assert await keeper.decide(ANN, "/a") is True
    grants[0] = False
    assert keeper.known(ANN, "/a") is True
    assert keeper.known(Identity(user_id="ann", expires_at=9.0), "/a") is None
    clock.time += 10
    assert keeper.known(ANN, "/a") is None
    assert await keeper.decide(ANN, "/a") is False
    keeper.forget()
    assert keeper.known(ANN, "/a") is None


async def test_a_hook_may_say_why():
    def access(_, channel):
        raise AccessDeniedError("pay first")

    keeper = Gatekeeper(lambda _: ANN, access)
    assert (await keeper.split(ANN, ["/a"])).refused[0].detail == "pay first"
    assert await keeper.decide(ANN, "/a") is False


async def test_a_hook_that_fails_is_not_a_no():
    keeper = Gatekeeper(lambda _: ANN, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await keeper.split(ANN, ["/a"])
    with pytest.raises(ZeroDivisionError):
        await keeper.decide(ANN, "/a")
    assert keeper.known(ANN, "/a") is None
