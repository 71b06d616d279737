"""message_bus's poll request: parsing, positions, and the choice of the answer."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import names
from trunkline.errors import GrammarError, LimitExceededError, UsageError
from trunkline.wire import poll
from trunkline.wire.poll import Mode, PollRequest, Resolution, Terms

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("kind", [None, "", FORM, f"{FORM}; charset=UTF-8", FORM.upper()])
def test_form_bodies_are_read_with_and_without_a_content_type(kind):
    got = poll.parse_request(b"%2Ffoo=12&%2Fbar=-1&__seq=7", kind)
    assert got == PollRequest({"/foo": 12, "/bar": -1}, seq=7, allow_hold=True)
    assert list(got.positions) == ["/foo", "/bar"]


@pytest.mark.parametrize(
    "kind", [JSON, "application/json; charset=utf-8", "text/x; application/json", JSON.upper()]
)
def test_json_bodies_are_read_when_the_type_contains_json(kind):
    """Checklist item 81."""
    body = json.dumps({"/foo": 3, "/é": None, "__seq": 2}).encode()
    assert poll.parse_request(body, kind) == PollRequest({"/foo": 3, "/é": None}, seq=2)


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "x"])
def test_other_content_types_subscribe_to_nothing(kind):
    assert poll.parse_request(b"%2Ffoo=12", kind) == PollRequest({})


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("12", 12), ("-1", -1), ("0", 0), ("", None), ("12abc", 12), ("1.9", 1), ("-3.9", -3),
        ("1e3", 1), (" 5", 5), ("+5", 5), ("1_000", 1000), ("1__0", 1), (str(2**63 - 1), 2**63 - 1),
    ],
)  # fmt: skip
def test_text_counts_by_its_leading_integer(text, position):
    form = poll.parse_request(urlencode({"/a": text}).encode(), FORM)
    by_json = poll.parse_request(json.dumps({"/a": text}).encode(), JSON)
    assert form.positions == by_json.positions == {"/a": position}


@pytest.mark.parametrize(("number", "position"), [("1.9", 1), ("-2.5", -2), ("1e2", 100), ("7", 7)])
def test_json_numbers_are_truncated(number, position):
    assert poll.parse_request(b'{"/a":%b}' % number.encode(), JSON).positions == {"/a": position}


def test_a_missing_value_means_the_current_id():
    assert poll.parse_request(b"%2Fa&%2Fb=", FORM).positions == {"/a": None, "/b": None}


def test_of_duplicate_channels_the_last_counts():
    assert poll.parse_request(b"%2Fa=1&%2Fb=2&%2Fa=3", FORM).positions == {"/a": 3, "/b": 2}
    assert poll.parse_request(b'{"/a":1,"/b":2,"/a":3}', JSON).positions == {"/a": 3, "/b": 2}


@pytest.mark.parametrize(
    ("query", "allowed"),
    [(b"", True), (b"dlp=t", False), (b"xdlp=true", False), (b"dlp=f", True), ("a=1&dlp=t", False)],
)
def test_the_mark_in_the_query_forbids_holding(query, allowed):
    """Checklist items 67 and 102."""
    assert poll.parse_request(b"", None, query).allow_hold is allowed


def test_an_empty_form_subscribes_to_nothing():
    assert poll.parse_request(b"", None) == PollRequest({})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b'[["/a",1]]', b'"x"', b"{", b'{"/a":NaN}', b'{"/a":1e400}', b"\xff",
        b'{"/a":true}', b'{"/a":{}}', b'{"/a":[1]}', b'{"/a":"garbage"}', b'{"/a":"-"}',
        b'{"/a":' + b"9" * 30 + b"}", b'{"/a":' + b"9" * 6000 + b"}", b'{"/a":1e300}',
        b'{"/a":"' + b"9" * 6000 + b'"}', b'{"__seq":"x"}', b"[" * 100_000, b'{"":1}',
        b'{"/\\u0000":1}',
    ],
)  # fmt: skip
def test_malformed_json_is_the_callers_mistake(body):
    with pytest.raises(UsageError) as caught:
        poll.parse_request(body, JSON)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body", [b"%2Fa[x]=1", b"%2Fa%5B%5D=1", b"%2Fa=x", b"%2Fa=%ff", b"\xff=1", b"%2Fa=1&=2"]
)
def test_malformed_forms_are_the_callers_mistake(body):
    with pytest.raises(UsageError) as caught:
        poll.parse_request(body, FORM)
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", [JSON, FORM])
def test_too_many_channels_name_the_limit(kind):
    fields = {f"/{i}": 0 for i in range(4)} | {"__seq": 1}
    body = json.dumps(fields).encode() if kind == JSON else urlencode(fields).encode()
    assert len(poll.parse_request(body, kind, max_channels=4).positions) == 4
    with pytest.raises(LimitExceededError) as caught:
        poll.parse_request(body, kind, max_channels=3)
    assert (caught.value.limit, caught.value.allowed, caught.value.status) == (
        "max_channels",
        3,
        400,
    )


@given(
    st.dictionaries(names.filter(lambda n: "[" not in n), st.none() | st.integers(-9, 2**62)),
    st.integers(0, 2**31),
)
def test_what_a_client_writes_a_server_reads(positions, seq):
    expected = PollRequest(positions, seq)
    assert poll.parse_request(poll.encode_form(positions, seq), FORM) == expected
    assert poll.parse_request(poll.encode_json(positions, seq), JSON) == expected


def test_a_client_may_leave_the_sequence_out():
    assert poll.encode_form({"/a": None}) == b"%2Fa="
    assert poll.encode_json({"/a": -1}) == b'{"/a":-1}'


@given(st.binary(max_size=200), st.sampled_from([None, JSON, FORM, "text/plain"]), st.binary())
def test_any_bytes_are_a_request_or_a_mistake(body, kind, query):
    try:
        got = poll.parse_request(body, kind, query, max_channels=8)
    except UsageError:
        return
    assert len(got.positions) <= 8


@pytest.mark.parametrize(
    ("requested", "last_id", "after", "wants_status"),
    [
        (0, 5, 0, False),  # all that is kept
        (3, 5, 3, False),  # what came after
        (5, 5, 5, False),  # up to date: item 79
        (6, 5, 5, True),  # ahead counts as -1: item 74
        (10**18, 0, 0, True),
        (-1, 5, 5, True),  # only new: items 45, 69, 75
        (-1, 0, 0, True),  # items 43
        (-2, 5, 4, False),  # the last one: item 44
        (-3, 5, 3, False),
        (-6, 5, 0, False),
        (-100, 5, 0, False),
        (-2, 0, 0, False),
        (None, 5, 5, False),  # now, without being told: items 42, 47, 73
        (None, 0, 0, False),
        (0, 0, 0, False),  # an empty channel: nothing, no status
    ],
)
def test_positions_are_resolved_by_the_table(requested, last_id, after, wants_status):
    assert poll.resolve(requested, last_id) == Resolution(after, wants_status)


@given(st.none() | st.integers(-(2**63), 2**63), st.integers(0, 2**62))
def test_a_resolved_position_lies_within_the_channel(requested, last_id):
    after, wants_status = poll.resolve(requested, last_id)
    assert 0 <= after <= last_id
    assert after == last_id or not wants_status


YES = Terms("1.1", False, True, True, held=0, max_active_clients=10)


@pytest.mark.parametrize(
    ("allow_hold", "terms", "is_empty", "mode"),
    [
        (True, YES, True, Mode.STREAM),
        (True, YES, False, Mode.STREAM),
        (True, YES._replace(http_version="2"), False, Mode.STREAM),
        # not chunk_ok: an answer goes at once, an empty one is held
        (True, YES._replace(refuses_chunks=True), False, Mode.PLAIN),
        (True, YES._replace(refuses_chunks=True), True, Mode.HELD),
        (True, YES._replace(chunked_encoding_enabled=False), False, Mode.PLAIN),
        (True, YES._replace(chunked_encoding_enabled=False), True, Mode.HELD),
        (True, YES._replace(http_version="1.0"), False, Mode.PLAIN),
        (True, YES._replace(http_version="1.0"), True, Mode.HELD),
        # may not be held: plain, even if it could be chunked
        (False, YES, True, Mode.PLAIN),
        (False, YES, False, Mode.PLAIN),
        (True, YES._replace(long_polling_enabled=False), True, Mode.PLAIN),
        (True, YES._replace(held=10), True, Mode.PLAIN),
        (True, YES._replace(held=10), False, Mode.PLAIN),
        (True, YES._replace(held=9), True, Mode.STREAM),
        (True, YES._replace(max_active_clients=0), True, Mode.PLAIN),
        (False, YES._replace(refuses_chunks=True), True, Mode.PLAIN),
    ],
)
def test_the_mode_is_chosen_by_the_table(allow_hold, terms, is_empty, mode):
    request = PollRequest({}, allow_hold=allow_hold)
    assert poll.choose_mode(request, terms, is_empty=is_empty) is mode


@pytest.mark.parametrize(
    ("base", "prefix"),
    [
        ("", "/message-bus/"),
        ("/", "/message-bus/"),
        ("/base", "/base/message-bus/"),
        ("base/", "/base/message-bus/"),
        ("//a//b//", "/a/b/message-bus/"),
    ],
)
def test_the_base_path_gets_one_slash_at_each_joint(base, prefix):
    """Checklist item 2."""
    assert poll.mount_prefix(base) == prefix


@pytest.mark.parametrize(
    ("path", "client_id"),
    [
        ("/message-bus/abc/poll", "abc"),
        ("/message-bus/abc", "abc"),
        ("/message-bus/abc/more/segments", "abc"),  # item 77
        ("/message-bus//poll", ""),
        ("/message-bus/", None),  # item 68
        ("/message-bus", None),
        ("/elsewhere", None),
    ],
)
def test_the_client_id_is_the_first_segment_after_the_prefix(path, client_id):
    assert poll.client_id_in(path, "/message-bus/") == client_id


@pytest.mark.parametrize("client_id", ["x" * 256, "é" * 128, "a\x00b", "a\nb", "\ud800"])
def test_an_impossible_client_id_is_refused(client_id):
    with pytest.raises(GrammarError):
        poll.client_id_in(f"/message-bus/{client_id}/poll", "/message-bus/")
