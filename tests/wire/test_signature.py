"""Signatures are Standard Webhooks' and Demux's, and any garbage is refused cleanly."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import time

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st

from trunkline.wire import signature
from trunkline.wire.signature import SigningKey, VerifyingKey, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE, PUBLIC = signature.encode_key_pair(bytes(range(32)))
NOW = 1_700_000_000

# Published vectors: the specification's example, and those of Svix's server.
STANDARD = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    1614265330,
    b'{"test": 2432232314}',
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
)
SVIX_V1 = (
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
    1649367553,
    b'{"email":"test@example.com","username":"test_user"}',
    "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
)
SVIX_V1A = (
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    1614265330,
    b'{"test": 2432232314}',
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
)
SVIX_PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


@pytest.mark.parametrize("vector", [STANDARD, SVIX_V1, SVIX_V1A])
def test_published_vectors_are_what_we_sign_and_verify(vector) -> None:
    secret, ident, timestamp, body, expected = vector
    key = SigningKey.read(secret)

    assert key.sign(ident, timestamp, body) == expected

    headers = {
        "webhook-id": ident,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": expected,
    }
    known = VerifyingKey.read(SVIX_PUBLIC if key.scheme == "v1a" else secret)
    assert verify(headers, body, [known], now=timestamp) == (ident, timestamp)


@pytest.mark.parametrize("library", [standardwebhooks, svix.webhooks])
def test_their_verifiers_accept_what_we_send(library) -> None:
    body = '{"é":"\\u0000","n":1}'
    keys = [SigningKey.read(one) for one in (SECRET, PRIVATE)]
    headers = sign(keys, delivery_id="msg_1", timestamp=int(time.time()), body=body.encode())

    library.Webhook(SECRET).verify(body, headers)
    with pytest.raises(library.WebhookVerificationError):
        library.Webhook(SECRET).verify(body + " ", headers)


@pytest.mark.parametrize("library", [standardwebhooks, svix.webhooks])
def test_we_accept_what_their_signers_send(library) -> None:
    now = dt.datetime.now(tz=dt.UTC)
    signed = library.Webhook(SECRET).sign("msg_1", now, "{}")
    prefix = "svix" if library is svix.webhooks else "webhook"
    headers = {
        f"{prefix}-id": "msg_1",
        f"{prefix}-timestamp": str(int(now.timestamp())),
        f"{prefix}-signature": signed,
    }

    assert verify(headers, b"{}", [VerifyingKey.read(SECRET)], now=now.timestamp())[0] == "msg_1"


def test_asymmetric_keys_verify_with_the_public_half_alone() -> None:
    headers = sign([SigningKey.read(PRIVATE)], delivery_id="a", timestamp=NOW, body=b"x")

    assert verify(headers, b"x", [VerifyingKey.read(PUBLIC)], now=NOW) == ("a", NOW)
    with pytest.raises(signature.SignatureError):
        verify(headers, b"y", [VerifyingKey.read(PUBLIC)], now=NOW)


def test_each_of_several_secrets_is_enough_and_an_old_one_is_not() -> None:
    old, new, other = ("whsec_" + base64.b64encode(one * 24).decode() for one in (b"o", b"n", b"x"))
    headers = sign(
        [SigningKey.read(new), SigningKey.read(old)], delivery_id="a", timestamp=NOW, body=b""
    )

    for keys in ([old], [new], [other, old], [old, new]):
        assert verify(headers, b"", [VerifyingKey.read(one) for one in keys], now=NOW)
    with pytest.raises(signature.SignatureError):
        verify(headers, b"", [VerifyingKey.read(other)], now=NOW)


@pytest.mark.parametrize("away", [-301, 301, 1e9])
def test_outside_the_window_nothing_verifies(away) -> None:
    headers = sign([SigningKey.read(SECRET)], delivery_id="a", timestamp=NOW, body=b"")

    with pytest.raises(signature.SignatureError):
        verify(headers, b"", [VerifyingKey.read(SECRET)], now=NOW + away)


@pytest.mark.parametrize("changed", ["id", "timestamp", "body"])
def test_id_time_and_body_are_all_signed(changed) -> None:
    headers = sign([SigningKey.read(SECRET)], delivery_id="a", timestamp=NOW, body=b"x")
    body = b"y" if changed == "body" else b"x"
    if changed == "id":
        headers["webhook-id"] = "b"
    if changed == "timestamp":
        headers["webhook-timestamp"] = str(NOW + 1)

    with pytest.raises(signature.SignatureError):
        verify(headers, body, [VerifyingKey.read(SECRET)], now=NOW)


def test_a_timestamp_is_signed_as_it_is_written() -> None:
    headers = sign([SigningKey.read(SECRET)], delivery_id="a", timestamp=NOW, body=b"")
    headers["webhook-timestamp"] = f"0{NOW}"

    with pytest.raises(signature.SignatureError):
        verify(headers, b"", [VerifyingKey.read(SECRET)], now=NOW)


garbage = st.one_of(
    st.text(),
    st.sampled_from(
        ["v1", "v1,", "v1,,", "v1,a,b", "v1,====", ",", "v1,\ud800", "v2,YQ==", "\x00"]
    ),
    st.text(alphabet="v1a,= \t\x00é٣").map(lambda text: f"v1,{text}"),
)


@given(garbage, garbage, garbage, st.binary(max_size=50))
def test_any_garbage_is_a_clean_refusal(ident, stamp, signatures, body) -> None:
    headers = {
        "webhook-id": ident,
        "Webhook-Timestamp": stamp,
        "webhook-signature": signatures,
    }
    keys = [VerifyingKey.read(SECRET), VerifyingKey.read(PUBLIC)]

    with pytest.raises(signature.SignatureError):
        verify(headers, body, keys, now=NOW)
    with pytest.raises(signature.SignatureError):
        signature.verify_as_demux({"x-demux-signature": signatures}, body, keys)


@given(
    st.sampled_from(["١٧٠٠٠٠٠٠٠٠", "1e9", "-1", "+1700000000", " 1700000000", "NaN", "9" * 4000])
)
def test_numbers_in_other_spellings_are_refused(stamp) -> None:
    headers = {"webhook-id": "a", "webhook-timestamp": stamp, "webhook-signature": "v1,YQ=="}

    with pytest.raises(signature.SignatureError):
        verify(headers, b"", [VerifyingKey.read(SECRET)], now=NOW)


@pytest.mark.parametrize("ident", ["a.b", "", "a b", "é", "a\r\nb", "x" * 257])
def test_an_id_that_could_be_read_in_two_ways_is_not_signed(ident) -> None:
    with pytest.raises(signature.UnsignableError):
        sign([SigningKey.read(SECRET)], delivery_id=ident, timestamp=NOW, body=b"")


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_?", "whsk_YQ==", "whsk_é", "whpk_YQ=="])
def test_a_bad_key_is_told_without_the_key(text) -> None:
    read = VerifyingKey.read if text.startswith("whpk_") else SigningKey.read
    with pytest.raises(signature.UnsignableError) as told:
        read(text)

    assert not text or text not in str(told.value)


def test_keys_do_not_show_what_they_are() -> None:
    assert "MfKQ" not in repr(SigningKey.read(SECRET)) + repr(VerifyingKey.read(SECRET))


@pytest.mark.parametrize(
    ("secret", "body"),
    [
        (
            "4PSRrXhkEvKKzz4JDWmLYCXR",
            b'{"action":"updated","company_id":1,"lesson":{"id":411098860}}',
        ),
        ("s", b""),
    ],
)
def test_demux_signs_the_body_with_the_secret_as_it_stands(secret, body) -> None:
    headers = signature.sign_as_demux(SigningKey.read(secret), "lesson", body)

    assert headers == {
        "X-Demux-Signal": "lesson",
        "X-Demux-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }
    keys = [VerifyingKey.read("other"), VerifyingKey.read(secret)]
    assert signature.verify_as_demux(headers, body, keys) == "lesson"
    with pytest.raises(signature.SignatureError):
        signature.verify_as_demux(headers, body + b" ", keys)


def test_comparisons_take_constant_time() -> None:
    from pathlib import Path

    text = Path(signature.__file__).read_text()
    assert text.count("hmac.compare_digest(") == 2
    assert "== mac" not in text
    assert "mac ==" not in text
