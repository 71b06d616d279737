"""Who may receive a message: the whole table, and the two ways of comparing ids."""

from __future__ import annotations

import itertools

import pytest

from trunkline.errors import InvalidTargetError
from trunkline.model.audience import audience_of
from trunkline.model.identity import Identity, Viewer


def _viewer(user=None, groups=(), client=None, *, strict=True) -> Viewer:
    return Viewer(Identity(user_id=user, group_ids=frozenset(groups)), client, strict=strict)


@pytest.mark.parametrize(
    ("clients", "users", "groups", "is_client", "is_user", "in_group"),
    list(itertools.product([False, True], repeat=6)),
)
def test_targeting_table(clients, users, groups, is_client, is_user, in_group) -> None:
    """Client and (user or group), each only where it is listed at all."""
    audience = audience_of(
        client_ids=["c"] if clients else None,
        user_ids=[1] if users else None,
        group_ids=["g"] if groups else None,
    )
    viewer = _viewer(1 if is_user else 2, ["g"] if in_group else [], "c" if is_client else "d")

    expected = (not clients or is_client) and (
        not (users or groups) or (users and is_user) or (groups and in_group)
    )
    if audience is None:
        assert expected
    else:
        assert audience.admits(viewer) is bool(expected)


@pytest.mark.parametrize(
    ("given", "viewer"),
    [
        ({"exclude_user_ids": [2]}, _viewer(2)),
        ({"exclude_group_ids": ["g"]}, _viewer(1, ["g", "h"])),
        ({"exclude_client_ids": ["c"]}, _viewer(1, client="c")),
        ({"user_ids": [1], "exclude_client_ids": ["c"]}, _viewer(1, client="c")),
    ],
)
def test_exclusions_win(given, viewer) -> None:
    """Whoever is excluded does not receive it; everybody else still does."""
    audience = audience_of(**given)

    assert audience is not None
    assert not audience.admits(viewer)
    assert audience.admits(_viewer(1, ["x"], "other"))


def test_ids_compare_by_type_only_where_asked() -> None:
    """message_bus tells 1 from "1"; our own protocols do not."""
    audience = audience_of(user_ids=[1], group_ids=["2"])

    assert audience is not None
    assert not audience.admits(_viewer("1", [2], strict=True))
    assert audience.admits(_viewer("1", strict=False))
    assert audience.admits(_viewer(None, [2], strict=False))


def test_nobody_is_no_user() -> None:
    """A viewer without a user never matches a list of users, not even by exclusion."""
    only = audience_of(user_ids=[1])
    without = audience_of(exclude_user_ids=["None"])

    assert only is not None
    assert without is not None
    assert not only.admits(_viewer(None, strict=False))
    assert without.admits(_viewer(None, strict=False))


@pytest.mark.parametrize("name", ["user_ids", "group_ids", "client_ids", "exclude_user_ids"])
@pytest.mark.parametrize("bad", [[], "abc", [None], [1.5], [True], [["a"]]])
def test_a_list_that_targets_nobody_is_refused(name, bad) -> None:
    """An empty list, text instead of a list, or what is no id."""
    with pytest.raises(InvalidTargetError, match=name):
        audience_of(**{name: bad})


def test_client_ids_are_text() -> None:
    """A client id comes out of a URL, so a number can never match."""
    with pytest.raises(InvalidTargetError):
        audience_of(client_ids=[1])  # type: ignore[list-item]
