"""Records and strategies that the protocol tests share."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from trunkline.model import codec
from trunkline.model.channel import ChannelKey
from trunkline.model.message import Record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="*:$"),
    min_size=1,
    max_size=40,
).map(lambda text: "/" + text)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def record(
    data: object,
    channel: str = "/lp",
    message_id: int = 1,
    global_id: int | None = None,
    *,
    raw: bytes | None = None,
    headers: dict[str, object] | None = None,
    published_at: float = 1767225600.25,
) -> Record:
    """Make a record as a log returns it."""
    return Record(
        channel=ChannelKey(channel, None),
        message_id=message_id,
        global_id=message_id if global_id is None else global_id,
        published_at=published_at,
        data=codec.encode(data) if raw is None else raw,
        headers=None if headers is None else codec.encode(headers),
    )


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Draw any record."""
    return record(
        draw(json_values),
        draw(names),
        draw(st.integers(1, 2**62)),
        draw(st.integers(1, 2**62)),
        headers=draw(st.none() | st.dictionaries(texts, json_values, max_size=3)),
        published_at=draw(st.floats(0, 4e9)),
    )


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Cut bytes at the given places, wherever these lie."""
    places = sorted({min(max(cut, 0), len(data)) for cut in cuts})
    start = 0
    for place in [*places, len(data)]:
        yield data[start:place]
        start = place


cuts = st.lists(st.integers(0, 400), max_size=12)
