"""What is shown of a URL holds no secret, and is otherwise the URL as it stood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.runtime.masking import masked_url


@pytest.mark.parametrize(
    "url", ["sqlite:///a.db", "sqlite:////tmp/a.db?readers=3", "memory://", "redis://h/1", "no url"]
)
def test_a_url_without_a_secret_stays(url: str) -> None:
    assert masked_url(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("postgres://me:p%40w@h/db", "postgres://me:***@h/db"),
        ("nats://h?user=a&password=b&x=1", "nats://h?user=a&password=***&x=1"),
        ("nats://h?auth_token=b", "nats://h?auth_token=***"),
        ("http://[broken", "***"),
    ],
)
def test_a_secret_becomes_stars(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@given(st.from_regex(r"[A-Za-z0-9%._~-]{6,20}", fullmatch=True))
def test_a_password_is_never_shown(password: str) -> None:
    assert password not in masked_url(f"x://u:{password}@h/?token={password}")
