"""Change tracking: items 3 to 16, 18 and 19 of what spool-broadcast asserts about commands."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.cqrs.changes import Changes, Difference, ListChanges
from trunkline.errors import UsageError

NOW = datetime(2024, 5, 1, tzinfo=UTC)


class Thing(msgspec.Struct):
    """Be a record with a field of each sort."""

    name: str | None = None
    number: int | None = None
    parts: list[dict] | None = None
    extra: dict | None = None


class Patch(msgspec.Struct):
    """Be a request of some fields."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    number: int | msgspec.UnsetType = msgspec.UNSET


STORED = {"name": "old", "number": 1, "parts": [{"a": 1}], "extra": None}


def test_3_before_the_comparison_data_are_the_request() -> None:
    """Nothing is previous, approved or changed yet; nested values are there."""
    books = Changes(Thing(name="a", parts=[{"a": 1}]))

    assert (
        books.data
        == books.requested
        == {
            "name": "a",
            "number": None,
            "parts": [{"a": 1}],
            "extra": None,
        }
    )
    assert (books.previous, books.approved, books.changed) == ({}, {}, {})


def test_4_a_new_record_is_approved_as_a_whole() -> None:
    """Data, request and approval agree; before there was nothing."""
    books = Changes(Thing(name="a", number=0))
    books.compare(None)

    assert books.data == books.requested == books.approved
    assert books.previous == dict.fromkeys(["name", "number", "parts", "extra"])
    assert books.changed == {"name": None, "number": None}


@pytest.mark.parametrize(
    ("field", "value"), [("name", "b"), ("number", 7), ("extra", {"x": {"y": 1}}), ("parts", [])]
)
def test_5_applying_to_a_new_record(field: str, value: object) -> None:
    """Data, request and approval follow; there still was nothing before."""
    books = Changes(Thing(name="a"))
    books.compare(None)
    books.apply(field, value)

    assert books.data[field] == books.requested[field] == books.approved[field] == value
    assert books.previous[field] is books.changed[field] is None


def test_6_a_new_record_changes_in_all_fields_in_order() -> None:
    """All its fields are listed, whether they hold something or not."""
    books = Changes(Thing(number=3))
    books.compare(None)

    assert books.changes() == ["name", "number", "parts", "extra"]
    assert books.has_changed("extra")
    assert books.has_changes()


def test_7_an_update_shows_the_stored_values_once_compared() -> None:
    """The request is kept beside them."""
    books = Changes(Patch(name="new"))
    assert books.data == {"name": "new"}
    books.compare(STORED)

    assert books.data == books.previous == STORED
    assert books.requested == {"name": "new"}
    assert books.unapproved() == ["name"]


def test_8_only_named_fields_are_let_in() -> None:
    """The white list of an update: what it doesn't name stays as stored."""
    books = Changes(Patch(name="new", number=2))
    books.compare(STORED)
    books.approve_updates("name", "parts", "unheard_of")

    assert books.data == {**STORED, "name": "new"}
    assert books.approved == {"name": "new"}
    assert books.changed == {"name": "old"}
    assert books.changes() == ["name"]
    assert books.unapproved() == ["number"]


def test_8b_changes_made_by_code_are_accepted_by_name() -> None:
    """What code put on the data counts once it is approved."""
    books = Changes(Patch())
    books.compare(STORED)
    books.data["number"] = 5
    books.approve_changes("name", "number")

    assert books.changed == {"number": 1}
    assert books.approved == {"number": 5}


def test_9_times_are_stamped_where_they_belong() -> None:
    """Creation only on new records, update only with changes, deletion always."""
    books = Changes(Patch(name="new"))
    books.compare(STORED)
    books.stamp_created(NOW)
    books.stamp_updated(NOW)
    assert books.changes() == []
    books.approve_updates("name")
    books.stamp_updated(NOW)
    books.stamp_deleted(NOW)

    assert books.changed == {"name": "old", "updated_at": None, "deleted_at": None}
    assert books.data["updated_at"] == NOW

    fresh = Changes(Patch(name="new"))
    fresh.compare(None)
    fresh.stamp_created(NOW)
    fresh.stamp_updated(NOW)
    assert {"created_at", "updated_at"} <= set(fresh.changes())


def test_10_and_11_the_event_carries_exactly_what_changed() -> None:
    """Changed fields with what they held, through JSON and back."""
    books = Changes(Patch(name="new", number=1))
    books.compare(STORED)
    books.approve_updates("name", "number")

    sent = msgspec.json.decode(msgspec.json.encode(books.difference()), type=Difference)

    assert sent == Difference(("name",), {"name": "old"})
    assert "name" in sent
    assert "number" not in sent
    assert sent.before("name") == "old"
    with pytest.raises(UsageError, match="'number' did not change"):
        sent.before("number")


async def test_12_what_is_loaded_is_not_loaded_again() -> None:
    """No query, no changes, and nothing to let in."""
    books = Changes.of(Thing(name="a", number=1))
    queries = []

    async def fetch() -> None:
        queries.append(1)

    await books.reload(fetch)
    books.approve_updates("name", "number")

    assert queries == []
    assert not books.has_changes()
    assert books.difference() == Difference()
    assert not books.difference()


async def test_12b_a_second_reload_asks_nothing_and_loses_nothing() -> None:
    """Old values stay known."""
    books = Changes(Patch(name="new"))
    queries = []

    async def fetch() -> dict:
        queries.append(1)
        return STORED

    await books.reload(fetch)
    books.approve_updates("name")
    await books.reload(fetch)

    assert queries == [1]
    assert books.previous == STORED
    assert books.changed == {"name": "old"}


def test_13_lists_keep_books_by_place() -> None:
    """The same rules for each record; the event answers by place, or for any."""
    books = ListChanges([Patch(name="x"), Patch(name="y", number=1), Patch(name="z")])
    books.compare([STORED, STORED, None])
    books.approve_updates("name")
    books.apply("0.number", 9)

    assert books.changes() == [["name", "number"], ["name"], ["name", "number"]]
    assert books.has_changed("number") == [True, False, True]
    assert books.has_changes(0)
    difference = books.difference()
    assert "0.number" in difference
    assert "1.number" not in difference
    assert "number" in difference
    assert difference.before("0.name") == "old"
    assert difference.before("2.name") is None


def test_13b_a_list_refuses_paths_and_records_that_are_not_its_own() -> None:
    """A path needs the place of a record, and each record its stored one."""
    books = ListChanges([Patch(name="x")])
    for path in ["name", "1.name", "0", "-1.name"]:
        with pytest.raises(UsageError):
            books.apply(path, 1)
    with pytest.raises(UsageError):
        books.compare([None, None])


def test_14_a_field_that_was_not_asked_for_can_be_applied_later() -> None:
    """The request grows with it."""
    books = Changes(Patch(name="a"))
    books.compare(None)
    books.apply("number", 4)

    assert books.data["number"] == books.requested["number"] == books.approved["number"] == 4
    assert books.changed["number"] is None


def test_15_the_event_of_new_records_lists_what_has_values() -> None:
    """Fields that hold nothing did not change from nothing."""
    books = ListChanges([Thing(name="a"), Thing(number=2)])
    books.compare([None, None])

    assert books.difference() == Difference(
        ("0.name", "1.number"), {"0.name": None, "1.number": None}
    )


class Guarded(msgspec.Struct):
    """Be a record that prepares itself and hides a field from JSON."""

    name: str
    secret: str = ""
    made: int = 0

    def __post_init__(self) -> None:
        self.made += 1


def test_18_preparing_code_runs_for_new_records_and_for_updates() -> None:
    """Every construction runs it; no database is needed."""
    books = Changes(Guarded("a"))
    books.compare(None)
    assert books.result(Guarded).made == 2

    update = Changes({"name": "b"})
    update.compare(Guarded("a"))
    update.approve_updates("name")
    assert update.result(Guarded) == Guarded("b", made=1)


def test_19_fields_that_are_hidden_from_json_survive() -> None:
    """Books hold the values themselves, not what a client would be shown."""
    books = Changes(Guarded("a", secret="s"))
    books.compare(None)

    assert books.result(Guarded).secret == "s"


def test_data_that_no_longer_fit_are_refused() -> None:
    """The type is checked again when the result is taken."""
    books = Changes(Guarded("a"))
    books.compare(None)
    books.apply("name", 5)

    with pytest.raises(UsageError, match="no Guarded"):
        books.result(Guarded)


def test_a_path_into_a_nested_value_is_one_change() -> None:
    """Only that path is listed, and what it held is known."""
    books = Changes({})
    books.compare({"home": {"street": "a", "town": "b"}})
    books.apply("home.street", "c")

    assert books.data == {"home": {"street": "c", "town": "b"}}
    assert books.changed == {"home.street": "a"}
    assert books.previous == {"home": {"street": "a", "town": "b"}}


FIELDS = st.sampled_from(["a", "b", "c"])
RECORDS = st.dictionaries(FIELDS, st.integers(0, 2))


@given(RECORDS, st.none() | RECORDS, st.lists(st.tuples(FIELDS, st.integers(0, 2)), max_size=6))
def test_changed_is_always_the_difference_of_approved_and_previous(
    requested: dict, stored: dict | None, applied: list[tuple[str, int]]
) -> None:
    """Whatever is applied in whatever order, also back to what it was."""
    books = Changes(requested, fields=["a", "b", "c"])
    books.compare(stored)
    books.approve_updates("a", "b")
    for field, value in applied:
        books.apply(field, value)

    before = stored or {}
    assert books.changed == {
        field: before.get(field)
        for field, value in books.approved.items()
        if value != before.get(field)
    }
    assert all(books.data[field] == value for field, value in books.approved.items())
