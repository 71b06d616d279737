"""Peers: what is kept of their credentials, and that nothing of it is told."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhooks.services import PREFIX, make_line
from trunkline import Trunkline
from trunkline.errors import ConfigError
from trunkline.webhooks.errors import SecretError, UnknownPeerError
from trunkline.webhooks.peer import (
    NOBODY,
    Credentials,
    fits,
    hash_password,
    read_authorization,
)


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
