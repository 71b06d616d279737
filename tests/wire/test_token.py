"""Entry tokens hold for a minute, for one app, by one algorithm; whatever else comes is refused."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.wire.token import EntryRefusedError, read_entry, sign_entry, with_token

KEY, OTHER = b"k" * 24, b"o" * 40
NOW = 1_700_000_000.0
CLAIMS = {
    "data": {"account_id": 7, "account_type": "account", "user": {"id": [1]}},
    "iss": "host",
    "aud": "app_1",
    "iat": int(NOW),
    "exp": int(NOW) + 60,
    "jti": "abc",
}


def read(token, *, now=NOW, keys=(KEY,), audience="app_1"):
    return read_entry(token, keys, now=now, audience=audience)


def test_what_was_signed_is_read():
    entry = read(sign_entry(CLAIMS, KEY))
    assert entry.data == CLAIMS["data"]
    assert (entry.account_type, entry.account_id, entry.token_id) == ("account", 7, "abc")


def test_other_libraries_read_it():
    token = sign_entry(CLAIMS, KEY)
    options = {"verify_exp": False}
    padded = KEY.ljust(32, b"\0")  # the same key to HMAC
    found = jwt.decode(token, padded, algorithms=["HS256"], audience="app_1", options=options)
    assert found == CLAIMS


def test_any_secret_that_is_valid_opens_it():
    assert read(sign_entry(CLAIMS, OTHER), keys=(KEY, OTHER)).token_id == "abc"


def test_demuxs_token_is_read_where_no_app_is_named():
    token = sign_entry({"data": {"account_id": 1}, "exp": int(NOW) + 60}, KEY)
    assert read(token, audience=None).account_id == 1
    with pytest.raises(EntryRefusedError):
        read(token)


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(NOW) - 6},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"iat": int(NOW) + 60},
        {"aud": "app_2"},
        {"aud": None},
        {"aud": ["app_1"]},
        {"jti": None},
        {"data": None},
        {"data": "x"},
    ],
)
def test_claims_that_do_not_hold_are_refused(changed):
    claims = {key: one for key, one in {**CLAIMS, **changed}.items() if one is not None}
    with pytest.raises(EntryRefusedError):
        read(jwt.encode(claims, KEY.ljust(32, b"\0"), algorithm="HS256"))


def test_it_ends():
    token = sign_entry(CLAIMS, KEY)
    assert read(token, now=NOW + 59)
    with pytest.raises(EntryRefusedError):
        read(token, now=NOW + 70)


def test_other_algorithms_are_refused():
    for header in ({"alg": "none"}, {"alg": "HS512"}, {"alg": "RS256"}, {"alg": "hs256"}, {}, []):
        parts = (json.dumps(one).encode() for one in (header, CLAIMS))
        body = ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)
        for signature in ("", "AAAA"):
            with pytest.raises(EntryRefusedError):
                read(f"{body}.{signature}")
    longer = jwt.encode(CLAIMS, KEY.ljust(64, b"\0"), algorithm="HS512")
    with pytest.raises(EntryRefusedError):
        read(longer)


def test_another_secret_is_refused():
    with pytest.raises(EntryRefusedError):
        read(sign_entry(CLAIMS, OTHER))
    with pytest.raises(EntryRefusedError):
        read(sign_entry(CLAIMS, KEY), keys=())


@given(st.one_of(st.text(), st.binary(), st.none(), st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*")))
def test_garbage_is_refused_and_nothing_else_happens(token):
    with pytest.raises(EntryRefusedError):
        read(token)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://a.example/in", "https://a.example/in?token=T"),
        ("https://a.example/in?foo=1", "https://a.example/in?foo=1&token=T"),
        ("https://a.example/in?token=old&b=", "https://a.example/in?b=&token=T"),
        ("https://a.example", "https://a.example?token=T"),
        ("https://a.example/in?q=a%26b#top", "https://a.example/in?q=a%26b&token=T#top"),
    ],
)
def test_a_token_joins_whatever_query_there_is(url, wanted):
    assert with_token(url, "T") == wanted
