"""What services say to each other, byte by byte, and whatever strangers say instead."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GrammarError, InvalidMessageError, UsageError
from trunkline.wire.toot import (
    Event,
    check_channel,
    encode_registration,
    read_event,
    read_registration,
    read_time,
    signed_content,
    wants_no_more,
    write_ruby_time,
    write_time,
)

NOW = datetime(2026, 11, 20, 21, 41, 19, 123456, tzinfo=UTC)
#: As the gem sends it.
CAPTURED = (
    b'{"id":"0834ccd0-4c3a-4360-8878-811abfa0c805","timestamp":"2026-11-20 21:41:19 +0000",'
    b'"payload":{"id":123},"channel":"org.example.users.updated.v1"}'
)


def event(**values) -> Event:
    given = {
        "id": "0834ccd0-4c3a-4360-8878-811abfa0c805",
        "timestamp": NOW,
        "channel": "org.example.users.updated.v1",
        "payload": {"id": 123},
    }
    return Event(**{**given, **values})


def test_a_callback_of_the_gem_is_written_byte_by_byte() -> None:
    assert event().encode("toot") == CAPTURED


def test_our_own_callback_keeps_the_fraction() -> None:
    assert b'"timestamp":"2026-11-20T21:41:19.123456Z"' in event().encode("standard")


def test_a_registration_of_the_gem_is_written_byte_by_byte() -> None:
    assert encode_registration("http://me/cb", "org.example.users.updated.v1") == (
        b'{"callback_url":"http://me/cb","channel":"org.example.users.updated.v1"}'
    )
    assert encode_registration("http://me/cb", "a", 60.0) == (
        b'{"callback_url":"http://me/cb","channel":"a","lease_seconds":60}'
    )


def test_a_callback_of_the_gem_is_read() -> None:
    found = read_event(CAPTURED, default_id="x", now=NOW)
    assert found == event()
    assert found.timestamp == NOW.replace(microsecond=0)
    assert found.timestamp.utcoffset() == timedelta(0)
    assert found["id"] == 123


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-20 21:41:19 +0000", "2026-11-20T21:41:19Z"),
        ("2026-11-20 23:41:19 +0200", "2026-11-20T21:41:19Z"),
        ("2026-11-20 16:11:19 -0530", "2026-11-20T21:41:19Z"),
        ("2026-11-20 21:41:19 UTC", "2026-11-20T21:41:19Z"),
        ("2026-11-20T21:41:19.5Z", "2026-11-20T21:41:19.500000Z"),
        ("2026-11-20T21:41:19.123456789+00:00", "2026-11-20T21:41:19.123456Z"),
        ("2026-11-20T21:41:19", "2026-11-20T21:41:19Z"),
    ],
)
def test_moments_are_read_in_either_form_and_know_their_zone(text, utc) -> None:
    assert write_time(read_time(text)) == utc


@given(st.integers(-30_000_000_000, 200_000_000_000), st.integers(0, 999_999), st.integers(-23, 23))
def test_what_is_written_is_read_again(seconds, micros, hours) -> None:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds, microseconds=micros)
    moment = moment.astimezone(timezone(timedelta(hours=hours)))
    assert read_time(write_time(moment)) == moment
    assert read_time(write_ruby_time(moment)) == moment.replace(microsecond=0)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([+-]\d\d:\d\d)?"))
def test_any_text_is_a_moment_or_refused(text) -> None:
    with contextlib.suppress(InvalidMessageError):
        assert read_time(text).tzinfo is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "timestamp", "payload", "channel", "callback_url"]), inner
        )
    ),
)


@given(st.binary() | _JSON)
def test_any_body_is_an_event_or_refused_and_so_with_registrations(body) -> None:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    for read in (
        lambda: read_event(raw, default_id="x", now=NOW),
        lambda: read_registration(raw),
    ):
        error = None
        try:
            read()
        except UsageError as refused:
            error = refused
        assert error is None or 400 <= error.status < 500


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "a.", ".a", "a..b", "a b", "a:b", "a*", "queue:default", "ü", "a\n", "/a"),
        *(None, 7, "a" * 201, "trunkline.events", "a\0b"),
    ],
)
def test_no_channel_has_such_a_name(name) -> None:
    with pytest.raises(GrammarError):
        check_channel(name)


@pytest.mark.parametrize("ident", ["", " ", "a b", "\0", "ü", "x" * 201, 7, ["a"]])
def test_an_id_that_cannot_be_kept_is_refused(ident) -> None:
    body = msgspec.json.encode({"id": ident, "channel": "a"})
    with pytest.raises(InvalidMessageError):
        read_event(body, default_id="x", now=NOW)


def test_an_event_without_id_or_time_gets_them() -> None:
    found = read_event(b'{"id":null,"channel":"a"}', default_id="x", now=NOW)
    assert (found.id, found.timestamp, found.payload) == ("x", NOW, {})


def test_only_a_true_value_unsubscribes() -> None:
    for text in ("True", "true", " TRUE ", "1", "yes"):
        assert wants_no_more({"x-toot-unsubscribe": text})
        assert wants_no_more({"X-Toot-Unsubscribe": text})
    for text in ("False", "false", "", "0", "no", "maybe"):
        assert not wants_no_more({"X-Toot-Unsubscribe": text})
    assert not wants_no_more({})


def test_a_signature_of_one_request_is_none_of_another() -> None:
    contents = {
        signed_content("GET", "", b""),
        signed_content("DELETE", "", b""),
        signed_content("DELETE", "channel=a", b""),
        signed_content("POST", "", b"channel=a"),
    }
    assert len(contents) == 4


def test_events_are_the_same_by_their_id() -> None:
    assert event() == event(payload={})
    assert event() != event(id="b")
    assert event() != "0834ccd0-4c3a-4360-8878-811abfa0c805"
    assert len({event(), event(payload=1)}) == 1
