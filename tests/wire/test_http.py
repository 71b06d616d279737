"""Header fields, heads and Retry-After."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GrammarError
from trunkline.wire import http

NOW = 1767225600.0  # Thu, 01 Jan 2026 00:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("23", 23.0), (" 0 ", 0.0), ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0.0), ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("9" * 400, 86_400.0), ("Thu, 01 Jan 2099 00:00:00 GMT", 86_400.0),
        ("-1", None), ("1.5", None), ("soon", None), ("", None), (None, None), ("٣", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value, seconds):
    """Checklist item 106."""
    assert http.parse_retry_after(value, now=NOW) == seconds


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_any_retry_after_is_a_bounded_delay_or_nothing(value):
    seconds = http.parse_retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds <= http.MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0"), (-3, "0"), (0.1, "1"), (15, "15"), (15.01, "16"), (1e9, "86400")],
)
def test_nobody_is_told_to_come_too_early(seconds, text):
    assert http.format_retry_after(seconds) == text


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_header_breaks_out_of_its_line(name, value):
    try:
        head = http.encode_head(200, [(name, value)])
    except GrammarError:
        return
    assert head.count(b"\r\n") == 3
    assert head.count(b"\n") == head.count(b"\r") == 3
    assert b"\0" not in head


def test_names_become_lower_case_and_values_lose_their_margin():
    assert http.check_header("X-App", " \ta b\t") == ("x-app", "a b")
    assert http.asgi_headers([("x-app", "é")]) == [(b"x-app", b"\xe9")]


def test_a_head_has_a_phrase_where_there_is_one():
    assert http.encode_head(429, []) == b"HTTP/1.1 429 Too Many Requests\r\n\r\n"
    assert http.encode_head(299, []) == b"HTTP/1.1 299 \r\n\r\n"
