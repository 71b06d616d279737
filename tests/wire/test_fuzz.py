"""A seeded fuzz over all parsers: mutated good inputs give a value or a mistake, nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.wire.samples import record
from tests.wire.test_frames import client_frame
from trunkline.errors import GrammarError, ProtocolError, UsageError
from trunkline.model.position import Position
from trunkline.wire import (
    chunks,
    frames,
    http,
    message,
    poll,
    poll_reply,
    problem,
    publish,
    pushes,
    socket,
    sse,
    sse_request,
)

ROUNDS = 1500
HI = record({"text": "hé", "n": [1, 2.5, None]}, "/chat", 7, 42, headers={"h": 1})
AT = Position("k3", 41)
HOSTILE = [
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"NaN", b"1e999", b"-", b"9" * 40, b"[" * 2000,
    b'"', b"{}", b"[]", b"null", b"true", b"\r\n", b"\r\n|\r\n", b"%ff", b"%00", b"&", b"=", b"*",
]  # fmt: skip

PARSERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "poll-json": (
        lambda raw: poll.parse_request(raw, "application/json", raw, max_channels=9),
        [poll.encode_json({"/a": -1, "/b": None, "/c": 7}, 3)],
    ),
    "poll-form": (
        lambda raw: poll.parse_request(raw, None, max_channels=9),
        [poll.encode_form({"/a": -1, "/b": None, "/c": 7}, 3)],
    ),
    "poll-answer": (
        poll_reply.decode_answer,
        [
            b"[%b]" % poll_reply.encode_poll_message(HI),
            b"[%b]" % poll_reply.encode_status({"/a": 1}),
        ],
    ),
    "blocks": (
        lambda raw: chunks.BlockDecoder(500).feed(raw),
        [chunks.block(b'["\r\n|\r\n"]') + chunks.EMPTY_BLOCK],
    ),
    "events": (
        lambda raw: list(map(sse.decode_data, sse.EventParser(500).feed(raw))),
        [
            sse.encode_ready(AT, ["/a"], [], retry_ms=5) + sse.encode_gap("reset", ["/a"], AT),
            sse.encode_message_event(HI, "k3"),
        ],
    ),
    "stream-query": (
        sse_request.parse_stream_request,
        [b"channel=/a&channel=%2Fb/**&position=k3-4&client_id=x", b"channel=/a&last=3"],
    ),
    "frames": (
        lambda raw: list(frames.FrameParser(500).feed(raw)),
        [client_frame(1, b"hi", fin=False) + client_frame(0, b"ho") + client_frame(8, b"\x03\xe8")],
    ),
    "requests": (
        lambda raw: socket.parse_request(raw, max_channels=9),
        [
            b'{"id":1,"type":"subscribe","channels":["/a","/b/**"],"position":"k3-4"}',
            b'{"id":"x","type":"resume","channels":{"/a":"k3-4","/b":null}}',
        ],
    ),
    "pushes": (
        pushes.parse_push,
        [pushes.encode_push_message(HI), pushes.encode_subscribed(1, ["/a"], [], AT)],
    ),
    "message": (message.decode_message, [message.encode_message(HI)]),
    "publish": (
        publish.parse_body,
        [
            b'{"channel":"/a","data":{"x":1.5},"user_ids":[1,"2"],"headers":{"h":1},"key":"k"}',
            b'[{"channel":"/a","data":1},{"channel":"/b","data":"x","client_ids":["c"]}]',
        ],
    ),
    "receipts": (
        publish.decode_receipts,
        [b'[{"channel":"/a","message_id":1,"global_id":2,"position":"k3-2","repeated":false}]'],
    ),
    "problem": (problem.parse_problem, [problem.problem(400, "grammar", "no").encode()]),
    "retry-after": (
        lambda raw: http.parse_retry_after(raw.decode("latin-1"), now=0.0),
        [b"120", b"Thu, 01 Jan 2026 00:00:30 GMT"],
    ),
    "header": (
        lambda raw: http.encode_head(200, [("x-a", raw.decode("latin-1"))]),
        [b"max-age=0, private"],
    ),
}


def mutated(chance: random.Random, good: bytes) -> bytes:
    raw = bytearray(good)
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(raw) + 1)
        match chance.randrange(5):
            case 0:
                raw[place:place] = chance.choice(HOSTILE)
            case 1:
                del raw[place : place + chance.randrange(1, 9)]
            case 2 if place < len(raw):
                raw[place] ^= 1 << chance.randrange(8)
            case 3:
                raw[place : place + chance.randrange(1, 9)] = chance.choice(HOSTILE)
            case _:
                raw[place:place] = raw[: chance.randrange(1, 20)]
    return bytes(raw)


@pytest.mark.parametrize("name", PARSERS)
def test_a_mutated_input_is_a_value_or_a_mistake(name):
    parse, good = PARSERS[name]
    chance = random.Random(name)
    refused = 0
    for _ in range(ROUNDS):
        raw = mutated(chance, chance.choice(good))
        try:
            parse(raw)
        except (UsageError, ProtocolError, GrammarError) as error:
            assert 400 <= error.status < 500, raw  # noqa: PT017
            refused += 1
    assert refused < ROUNDS, "a fuzz that everything refuses finds nothing"


@pytest.mark.parametrize("name", PARSERS)
def test_the_good_inputs_are_good(name):
    parse, good = PARSERS[name]
    if name != "events":
        for raw in good:
            parse(raw)
