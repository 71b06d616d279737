"""The grammar of channel names, and the keys made of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import GrammarError
from trunkline.model.channel import ChannelKey, channel_key, check_name, check_readable, check_site
from trunkline.model.interest import ANY_SITE, EVERYTHING, Interest, PatternInterest


@pytest.mark.parametrize(
    "name", ["/a", "/a/b-c_d.e", "/ünïcode/✓", "/a b", "/" + "x" * 254, "/a//b"]
)
def test_a_good_name_comes_back(name: str) -> None:
    """Anything printable is allowed after the slash."""
    assert check_name(name) == name


BAD_NAMES = [
    *("", "a", "/", "/a*", "/a:b", "/a\nb", "/a\x00", "/a$|$b", "/__status", "/__trunkline/x"),
    *("/" + "x" * 255, "/" + "ü" * 128, "/\ud800", "/a\x85"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused(name: str) -> None:
    """The error is a GrammarError, which is a ValueError."""
    with pytest.raises(GrammarError) as caught:
        check_name(name)

    assert isinstance(caught.value, ValueError)


@given(st.text(max_size=300) | st.none() | st.integers())
def test_checking_is_total(name) -> None:
    """Whatever comes in is a name or a GrammarError."""
    for check in (check_name, check_readable):
        with contextlib.suppress(GrammarError):
            assert check(name) == name


def test_only_trunkline_itself_may_use_its_channels() -> None:
    """Reserved names stay reserved, also for Trunkline where they are not its own."""
    assert check_name("/__trunkline/revoke", internal=True)
    with pytest.raises(GrammarError):
        check_name("/__status", internal=True)


def test_reading_tolerates_what_older_peers_stored() -> None:
    """A name without a slash, or with characters of patterns, can be read."""
    assert check_readable("no-slash") == "no-slash"
    assert check_readable("/a:b*") == "/a:b*"


@pytest.mark.parametrize("site", ["", "a\nb", "x" * 256, "a$|$b", 7, "\ud800"])
def test_a_bad_site_is_refused(site) -> None:
    """A tenant has a name as sane as a channel's."""
    with pytest.raises(GrammarError):
        check_site(site)


def test_a_global_channel_belongs_to_no_site() -> None:
    """Whatever the site, the key is the same."""
    assert channel_key("/global/news", "a") == ChannelKey("/global/news", None)
    assert channel_key("/news", "a") == ChannelKey("/news", "a")


@pytest.mark.parametrize(
    ("site", "key", "wanted"),
    [
        ("a", ChannelKey("/x", "a"), True),
        ("a", ChannelKey("/x", "b"), False),
        ("a", ChannelKey("/x"), False),
        ("a", ChannelKey("/global/x"), True),
        (None, ChannelKey("/x"), True),
        (None, ChannelKey("/x", "a"), False),
        (ANY_SITE, ChannelKey("/x", "a"), True),
        (ANY_SITE, ChannelKey("/x"), True),
        (ANY_SITE, ChannelKey("/__trunkline/revoke"), False),
    ],
)
def test_a_pattern_wants_its_site_and_the_global_channels(site, key, wanted) -> None:
    """Trunkline's own channels are wanted by no pattern."""
    assert PatternInterest("/**", site).includes(key) is wanted


def test_interests_add_up() -> None:
    """The union wants what either wants; an empty interest is false."""
    one = Interest(frozenset({ChannelKey("/a")}))
    two = Interest(patterns=frozenset({PatternInterest("/b/*")}))

    assert not Interest()
    assert (one | two).includes(ChannelKey("/a"))
    assert (one | two).includes(ChannelKey("/b/1"))
    assert not (one | two).includes(ChannelKey("/b"))
    assert EVERYTHING.includes(ChannelKey("/a", "site"))
