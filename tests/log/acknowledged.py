"""What publishers were told while a server failed, held against the line that it left."""

from __future__ import annotations

from trunkline.model import codec


def check_line(records, acknowledged):
    """Every acknowledged message is there under its id, none twice, no id missing.

    Returns what is stored, by global id.
    """
    assert [one.global_id for one in records] == list(range(1, len(records) + 1))
    stored = {one.global_id: codec.decode(one.data) for one in records}
    assert {id_: stored.get(id_) for id_ in acknowledged} == acknowledged
    texts = [str(value) for value in stored.values()]
    assert len(set(texts)) == len(texts), "a message is doubled"
    counts = {}
    for one in records:
        counts[one.channel] = counts.get(one.channel, 0) + 1
        assert one.message_id == counts[one.channel]
    return stored
