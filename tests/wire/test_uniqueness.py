"""When two signals are the same: by our hash, and by Demux's to the byte."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal

import pytest

from trunkline.errors import UnencodableDataError
from trunkline.wire.uniqueness import canonical_hash, demux_hash

# Published hashes of Demux 0.1.0.beta.
PLAIN = "8830d36fe55432b57b64fa271b55666f9750a8b2d08733d2ed88a48ded88d71a"
RICH = "d1aeea76594226d28a3f4a573f90b6f48a02ebd8be47c944c55c5c68cf172c8f"


def hashed(action="updated", context=None, **more):
    fields = {"account_id": 1, "account_type": "account", "object_id": 4}
    return demux_hash(
        **{**fields, **more}, action=action, context=context, signal_class="LessonSignal"
    )


def test_demuxs_plain_vector():
    assert hashed(context={}) == PLAIN
    assert hashed(context=None) == PLAIN


def test_demuxs_vector_with_a_time_escapes_a_decimal_and_a_float():
    at = dt.datetime(2020, 1, 2, 4, 4, 5, 678900, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    context = {"archivist_id": 3, "t": at, "s": "<&>\u2028é", "d": Decimal("1.5"), "f": 1.0}
    assert hashed("archival", context) == RICH
    assert hashed("archival", {**context, "t": "2020-01-02T03:04:05.678Z", "d": "1.5"}) == RICH


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e20, "1.0e+20"),
        (1.5e-7, "1.5e-07"),
        (float("nan"), "null"),
        (True, "true"),
        (None, "null"),
        ([1, "a", {"b": ()}], '[1,"a",{"b":[]}]'),
        (dt.date(2020, 1, 2), '"2020-01-02"'),
        ('a\u2029\n"', '"a\\u2029\\n\\""'),
    ],
)
def test_other_values_are_written_as_active_support_writes_them(value, text):
    whole = (
        f'{{"account_id":1,"account_type":"account","action":"updated","context":{{"v":{text}}},'
        '"object_id":4,"signal_class":"LessonSignal"}'
    )
    assert hashed(context={"v": value}) == hashlib.sha256(whole.encode()).hexdigest()


def test_a_value_without_a_form_in_it_is_refused():
    for value in (b"x", object(), dt.datetime(2020, 1, 2)):  # noqa: DTZ001
        with pytest.raises(UnencodableDataError):
            hashed(context={"v": value})


def test_ours_knows_no_key_order_and_keeps_types():
    assert canonical_hash({"a": 1, "b": {"c": 1, "d": 2}}) == canonical_hash(
        {"b": {"d": 2, "c": 1}, "a": 1}
    )
    different = {canonical_hash(one) for one in (1, "1", 1.0, True, None, [1], {"1": 1})}
    assert len(different) == 7
    assert canonical_hash("a", "b") != canonical_hash("ab", "")
