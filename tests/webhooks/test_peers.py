"""Peers: what is kept of their credentials, and that nothing of it is told."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.databases import until
from tests.webhooks.services import PREFIX, come, make_line, pair
from trunkline import Trunkline
from trunkline.errors import ConfigError
from trunkline.testing.clock import ManualClock
from trunkline.webhooks.errors import SecretError, SignalError, UnknownPeerError
from trunkline.webhooks.peer import (
    NOBODY,
    Credentials,
    fits,
    hash_password,
    read_authorization,
)
from trunkline.webhooks.peers import Peers
from trunkline.webhooks.vault import Vault
from trunkline.wire.signature import SigningKey, VerifyingKey, encode_secret


def test_a_password_fits_its_own_hash_alone_and_none_fits_nobody() -> None:
    stored = hash_password("right-password")
    assert fits("right-password", stored)
    assert not fits("wrong-password", stored)
    assert stored != hash_password("right-password")
    assert not fits("", NOBODY)
    assert not fits("right-password", "")
    assert not fits("right-password", "md5$00$00")


@given(st.text())
def test_any_authorization_is_read_or_is_none(text) -> None:
    for kind in ("Basic ", "Bearer ", ""):
        found = read_authorization({"authorization": kind + text})
        assert found is None or len(found) == 2


def test_what_credentials_write_is_read_again() -> None:
    given = Credentials(name="shop", password="pass.word:1")
    assert read_authorization({"authorization": given.basic}) == ("shop", "pass.word:1")
    assert read_authorization({"authorization": f"Bearer {given.token}"}) == (
        "shop",
        "pass.word:1",
    )
    assert "pass" not in repr(given)


async def test_secrets_are_sealed_where_there_is_a_master_key(ground) -> None:
    keys = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    async with Trunkline(ground.url, webhooks={"secret_keys": keys[:1]}) as line:
        send = Credentials(name="us", password="their-password")
        given = await line.siblings.peers.add("shop", send=send, password="our-password")
        await line.siblings.peers.add("bank", send=Credentials(name="us", secret=None))
        database = line._store.database
        rows = await database.fetch(f"SELECT * FROM {database.schema}trunkline_peer")
        kept = b" ".join(
            value if isinstance(value, bytes) else str(value).encode()
            for row in rows
            for value in tuple(row.values() if hasattr(row, "values") else row)
        )
        assert b"their-password" not in kept
        assert b"our-password" not in kept
        assert given.secret is None
        [known] = (await line.siblings.peers.keys(["shop"])).values()
        assert (known.us, known.scheme) == ("us", "basic")
        assert "password" not in repr(known)
    async with Trunkline(ground.url, webhooks={"secret_keys": keys[1:]}) as line:
        with pytest.raises(SecretError):
            await line.siblings.peers.keys(["shop"])


async def test_a_peer_is_replaced_and_removed(ground) -> None:
    async with make_line(ground.url, prefix=PREFIX) as line:
        peers = line.siblings.peers
        first = await peers.add("shop")
        second = await peers.add("shop", channels=["org.example.a"])
        assert first.password != second.password
        [one] = await peers.list()
        assert one.channels == ("org.example.a",)
        assert one.may_hear("org.example.a")
        assert not one.may_hear("org.example.b")
        await peers.remove("shop")
        with pytest.raises(UnknownPeerError):
            await peers.remove("shop")
        assert await peers.find("shop") is None
        for name in ("", "a b", "a.b", "a:b", "x" * 101):
            with pytest.raises(ConfigError):
                await peers.add(name)
        for password in ("short", "with space", "ünïcödé!"):
            with pytest.raises(ConfigError):
                await peers.add("shop", password=password)


async def test_secrets_of_a_peer_rotate_with_an_overlap(ground) -> None:
    async with make_line(ground.url, prefix=PREFIX) as line:
        await line.siblings.peers.list()
        clock = ManualClock()

        async def ready():
            return line._store.database

        peers = Peers(ready, Vault([base64.b64encode(bytes(32)).decode()]), clock, grace=60)

        async def valid() -> list[str]:
            [known] = (await peers.keys(["shop"])).values()
            found = [known.secret, *known.retired]
            assert set(known.signing) == set(map(SigningKey.read, found))
            assert set(known.verifying) == set(map(VerifyingKey.read, found))
            return found

        first = (await peers.add("shop")).secret
        await peers.add("bank")
        clock.advance(1)
        second = await peers.rotate_secret("shop")
        assert await valid() == [second, first]
        assert (await peers.keys(["bank"]))["bank"].retired == ()
        clock.advance(30)
        third = await peers.rotate_secret("shop", value=encode_secret(bytes(range(32))))
        assert await valid() == [third, second, first]
        assert await peers.rotate_secret("shop", value=third) == third
        clock.advance(31)  # the first one's minute is over
        assert await valid() == [third, second]
        last = await peers.rotate_secret("shop", grace=0)
        assert await valid() == [last]

        for _ in range(4):
            await peers.rotate_secret("shop")
        with pytest.raises(SignalError, match="5 secrets"):
            await peers.rotate_secret("shop")
        assert len(await valid()) == 5
        again = (await peers.add("shop")).secret  # replaced: what it had counts no more
        assert await valid() == [again]
        await peers.rotate_secret("shop")
        await peers.remove("shop")
        assert (await peers.add("shop")).secret is not None
        assert len(await valid()) == 1


async def test_a_secret_that_cannot_be_rotated_is_refused(ground) -> None:
    async with make_line(ground.url, prefix=PREFIX) as line:
        peers = line.siblings.peers
        await peers.add("gem", format="toot")
        with pytest.raises(UnknownPeerError):
            await peers.rotate_secret("nobody")
        with pytest.raises(ConfigError):
            await peers.rotate_secret("gem")
        given = await peers.add("shop")
        for bad in ("short", "whsk_" + "A" * 43 + "=", "with\nlines" * 4):
            with pytest.raises(ValueError, match=r"secret|key"):
                await peers.rotate_secret("shop", value=bad)
        assert (await peers.keys(["shop"]))["shop"].secret == given.secret


async def test_events_and_registrations_go_on_while_both_sides_change_their_secret(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        hearer.line.siblings.subscribe("school", "a", hearer.hear)
        await hearer.line.open(run_consumers=True)

        async def both_ways(number: int) -> None:
            [done] = await hearer.line.siblings.register()
            assert done.is_ok, done
            await line.siblings.publish("a", {"n": number}, id=f"event-{number}")
            await come(lambda: len(hearer.heard) == number)

        async def sent() -> bool:
            counts = await line.transmissions.counts()
            return {state: count for state, count in counts.items() if count} == {"sent": 4}

        await both_ways(1)
        new = await line.siblings.peers.rotate_secret("shop", grace=3600)
        await both_ways(2)
        await hearer.line.siblings.peers.rotate_secret("school", value=new)
        await both_ways(3)
        for one, name in ((line, "shop"), (hearer.line, "school")):  # the overlap is over
            await one.siblings.peers.rotate_secret(name, value=encode_secret(b"x" * 32), grace=0)
        await both_ways(4)
        await until(sent)
        for one in await line.transmissions.list():  # and none of them at a second attempt
            assert len(await line.transmissions.attempts(one.id)) == 1
