"""Blocks and HTTP chunks of message_bus's streams."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import cuts, json_values, pieces
from trunkline.errors import ProtocolError
from trunkline.wire import chunks
from trunkline.wire.chunks import BlockDecoder


def test_the_constants_are_the_protocols_bytes():
    assert chunks.EMPTY_BLOCK == b"[]\r\n|\r\n"
    assert chunks.EMPTY_CHUNK == chunks.block_chunk(b"[]") == b"7\r\n[]\r\n|\r\n\r\n"
    assert chunks.FINAL_CHUNKS == b"7\r\n[]\r\n|\r\n\r\n0\r\n\r\n"


def test_a_chunk_has_its_length_in_lower_case_hex():
    assert chunks.chunk(b"x" * 0xABC)[:5] == b"abc\r\n"


def test_nothing_makes_no_chunk_for_that_would_end_the_response():
    assert chunks.chunk(b"") == b""


def test_a_separator_within_the_text_is_doubled_and_restored():
    """Checklist item 40: data that contains separators survives."""
    array = b'["|\r\n|\r\n|"]'
    framed = chunks.block(array)
    assert framed == b'["|\r\n||\r\n|"]\r\n|\r\n'
    assert BlockDecoder().feed(framed) == [array]


def test_overlapping_separators_never_break_the_framing():
    array = b'["\r\n|\r\n|\r\n"]'
    framed = chunks.block(array)
    assert framed.count(chunks.SEPARATOR) == 1


@given(st.lists(st.lists(json_values, max_size=3), max_size=4), cuts)
def test_blocks_survive_any_cut(arrays, places):
    texts = [json.dumps(array).encode() for array in arrays]
    decoder = BlockDecoder()
    stream = b"".join(map(chunks.block, texts))
    got = [block for piece in pieces(stream, places) for block in decoder.feed(piece)]
    assert got == texts
    assert decoder.pending == 0


def test_blocks_survive_a_cut_at_every_byte():
    stream = chunks.block(b'["\r\n|\r\n"]') + chunks.EMPTY_BLOCK + b'["half'
    for place in range(len(stream) + 1):
        decoder = BlockDecoder()
        got = decoder.feed(stream[:place]) + decoder.feed(stream[place:])
        assert got == [b'["\r\n|\r\n"]', b"[]"]
        assert decoder.pending == 6


def test_several_blocks_in_one_packet_are_all_found():
    """The Ruby client finds one per read."""
    assert BlockDecoder().feed(chunks.EMPTY_BLOCK * 3) == [b"[]"] * 3


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_block_over_the_limit_is_refused_while_it_comes(step):
    decoder = BlockDecoder(limit=20)
    assert decoder.feed(b"x" * 20 + chunks.SEPARATOR) == [b"x" * 20]
    stream = b"x" * 1000

    def flood():
        for at in range(0, 1000, step):
            decoder.feed(stream[at : at + step])

    with pytest.raises(ProtocolError):
        flood()
    assert decoder.pending == 0


def test_a_complete_block_over_the_limit_is_refused():
    with pytest.raises(ProtocolError):
        BlockDecoder(limit=20).feed(b"x" * 21 + chunks.SEPARATOR)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_blocks_or_a_protocol_error(packets):
    decoder = BlockDecoder(limit=64)
    for packet in packets:
        try:
            decoder.feed(packet)
        except ProtocolError:
            return
        assert decoder.pending <= 64 + len(chunks.SEPARATOR)
