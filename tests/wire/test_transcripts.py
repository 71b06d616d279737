"""The transcripts in docs/wire are what the encoders write and the parsers read."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.wire.samples import record
from trunkline.errors import LimitExceededError, SocketRequestError, UsageError
from trunkline.model.channel import ChannelKey
from trunkline.model.entity import EntityKey
from trunkline.model.message import Receipt
from trunkline.model.position import Position
from trunkline.wire import chunks, poll_reply, presence, publish, pushes, socket, sse, watch
from trunkline.wire.http import encode_head
from trunkline.wire.problem import problem_of
from trunkline.wire.start import Refusal
from trunkline.wire.watch import Version

DOCS = Path(__file__).parents[2] / "docs" / "wire"
FENCE = re.compile(r"<!-- transcript: ([a-z-]+) -->\n```[a-z]*\n(.*?)```", re.DOTALL)

ANN, TAB = presence.Member("tab-1", "ann"), presence.Member("tab-2")
THERE = [presence.Attended("/chat", [ANN])]
REFUSED = [Refusal("/secret", "access-denied", "ask for access")]


def at(global_id: int) -> Position:
    return Position("k3f9a2", global_id)


def transcripts() -> dict[str, str]:
    found: dict[str, str] = {}
    for page in sorted(DOCS.glob("*.md")):
        for name, text in FENCE.findall(page.read_text(encoding="utf-8")):
            assert name not in found, name
            found[name] = text
    return found


def raw(text: str) -> bytes:
    """Return the bytes that a transcript stands for: its own line breaks don't count."""
    return text.replace("\n", "").replace("␍", "\r").replace("␊", "\n").encode()


def answer(*messages: tuple[object, str, int]) -> bytes:
    return poll_reply.encode_array(
        [poll_reply.encode_poll_message(record(*message)) for message in messages]
    )


def plain() -> bytes:
    body = answer(("hello", "/foo", 1), ("wörld", "/foo", 2))
    return encode_head(200, poll_reply.plain_headers(length=len(body))) + body


def stream() -> bytes:
    status = poll_reply.encode_array([poll_reply.encode_status({"/lp": 6})])
    arrays = [status, answer(("m1\r\n|\r\nx", "/lp", 7)), answer(("m2", "/lp", 8))]
    return (
        poll_reply.stream_head() + b"".join(map(chunks.block_chunk, arrays)) + chunks.FINAL_CHUNKS
    )


def wrong_batch() -> bytes:
    try:
        publish.parse_body(b'[{"channel":"/a","data":1},{"channel":"chat","data":1}]')
    except UsageError as error:
        return problem_of(error).encode()
    raise AssertionError


HI = record({"text": "hi"}, "/chat", 7, 42, headers={"trace": "t1"})
WRITTEN = {
    "poll-plain": plain,
    "poll-status": lambda: poll_reply.encode_status({"/lp": 6}),
    "poll-gap": lambda: poll_reply.encode_gap({"/lp": 4}),
    "poll-stream": stream,
    "poll-held": lambda: poll_reply.held_response(answer(("m3", "/lp", 10))),
    "sse-ready": lambda: sse.encode_ready(at(41), ["/chat"], REFUSED, retry_ms=2000),
    "sse-message": lambda: sse.encode_message_event(HI, "k3f9a2"),
    "sse-position": lambda: sse.encode_position(at(57)),
    "sse-gap": lambda: sse.encode_gap("trimmed", ["/chat"], at(90)),
    "sse-goodbye": lambda: sse.encode_goodbye("shutdown", retry_ms=3217),
    "publish-answer": lambda: publish.encode_receipts(
        [Receipt(ChannelKey("/orders/7"), 3, 42, "k3f9a2")], is_batch=False
    ),
    "presence-http": lambda: presence.encode_presence(presence.Following(None, THERE)),
    "problem": wrong_batch,
    "problem-limit": lambda: problem_of(LimitExceededError("max_batch", 1000, status=413)).encode(),
}

CHAT = ["/chat", "/orders/**"]
SOCKET = {
    "socket-subscribe": [
        pushes.encode_subscribed(1, CHAT, REFUSED, at(40)),
        pushes.encode_push_message(record({"text": "hi"}, "/chat", 7, 42)),
        pushes.encode_live(1, at(57)),
    ],
    "socket-resume": [
        pushes.encode_subscribed(2, [*CHAT, "/news"], [], at(57)),
        pushes.encode_live(2, at(57)),
    ],
    "socket-others": [
        pushes.encode_unsubscribed(3, ["/chat"]),
        pushes.encode_pong("p1", at(57)),
    ],
    "socket-pushes": [
        pushes.encode_push_message(record("x", "/chat", 8, 58, headers={"trace": "t1"})),
        pushes.encode_push_position(at(60)),
        pushes.encode_push_gap("trimmed", ["/chat"], at(90)),
        pushes.encode_push_goodbye("shutdown", retry_ms=3217),
    ],
}


def version(number: int) -> Version:
    return Version(at(number), "0a1b2c3d4e5f")


def refusal(entity: str) -> watch.EntityRefusal:
    detail = "this viewer may not see this entity"
    return watch.EntityRefusal(entity, "1", "access-denied", detail)


ITEMS = [watch.Named("items", "100"), watch.Named("items", "7")]
LAMP, ORDER = EntityKey("items", "100"), EntityKey("orders", "7")
LATER = "the state cannot be had now; it is asked for again"
SOCKET |= {
    "entity-watch": [
        watch.encode_push(watch.Watching(1, ITEMS, [refusal("vault")], ITEMS[1:])),
        watch.encode_state(LAMP, version(60), [(LAMP, b'{"name":"lamp"}')]),
    ],
    "entity-refused": [watch.encode_push(watch.Refused(1, [refusal("club")]))],
    "entity-states": [
        watch.encode_state(
            ORDER,
            version(61),
            [(ORDER, b'{"total":12}'), (EntityKey("lines", "1"), b'{"text":"lamp"}')],
        ),
        watch.encode_removed(LAMP, version(62)),
        watch.encode_failed(EntityKey("items", "9"), "fetch-failed", LATER),
    ],
    "entity-others": [
        watch.encode_push(watch.Unwatched(2, ITEMS[1:])),
        watch.encode_push(watch.SecretSet(3)),
    ],
    "presence-follow": [
        presence.encode_presence(presence.Following(1, THERE, REFUSED)),
        presence.encode_presence(presence.Moved(channel="/chat", joined=[TAB], left=[ANN])),
        presence.encode_presence(presence.Unfollowed(2, ["/chat"])),
    ],
    "entity-reply": [watch.encode_push(watch.Reply({"hello": "you"}, 9))],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_transcript_is_what_the_encoder_writes(name):
    assert WRITTEN[name]() == raw(transcripts()[name])


def spoken(name: str, mark: str) -> list[str]:
    lines = transcripts()[name].splitlines()
    return [line.removeprefix(mark) for line in lines if line.startswith(mark)]


@pytest.mark.parametrize("name", SOCKET)
def test_a_conversation_is_what_both_sides_say(name):
    assert [text.decode() for text in SOCKET[name]] == spoken(name, "← ")
    for text in spoken(name, "→ "):
        request = socket.parse_request(text)
        sent = msgspec.json.decode(text)
        written = msgspec.json.decode(socket.encode_request(request))
        assert written.items() >= sent.items()


def test_a_wrong_request_is_answered_as_shown():
    (text,) = spoken("socket-error", "→ ")
    with pytest.raises(SocketRequestError) as caught:
        socket.parse_request(text)
    error = caught.value
    answered = pushes.encode_error(error.request_id, error.code, str(error))
    assert [answered.decode()] == spoken("socket-error", "← ")


def test_the_publish_request_is_read_and_written():
    text = raw(transcripts()["publish-request"])
    got = publish.parse_body(text)
    assert publish.encode_body(got.requests, is_batch=False) == text


def test_every_transcript_is_held_against_the_code():
    assert set(transcripts()) == {*WRITTEN, *SOCKET, "socket-error", "publish-request"}
