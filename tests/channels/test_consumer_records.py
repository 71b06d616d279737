"""Consumers of records, as wings use them: undecoded, and the unwanted cost no transaction."""

from __future__ import annotations

from tests.channels.consuming import QUICK, caught_up, come_true, consuming, note, notes
from trunkline.model.interest import ANY_SITE, Interest, PatternInterest

STREAMS = Interest(patterns=frozenset({PatternInterest("/a/**", ANY_SITE)}))


async def test_records_come_undecoded_from_all_sites(ground):
    """Data are bytes; the site is the channel's."""
    line = ground.line()
    seen = []

    async def take(record, tx):
        seen.append((record.channel.site_id, record.data))

    line.consume_records("raw", STREAMS, take)
    await line.publish("/a/1", {"x": 1}, site_id="s")
    await line.publish("/a/2", 2)
    async with consuming(line):
        await come_true(lambda: len(seen) == 2)

    assert seen == [("s", b'{"x":1}'), (None, b"2")]


async def test_what_is_not_wanted_never_reaches_the_handler(ground):
    """And it is not handled again after a restart."""
    seen = []
    for number in range(2):
        line = ground.line()

        async def take(records, tx):
            seen.extend(record.data for record in records)
            await tx.execute_many(note(ground), [[record.data.decode()] for record in records])

        line.consume_records(
            "raw", STREAMS, take, batch=100, wants=lambda record: record.data != b"0"
        )
        for one in (0, 1 + number, 0):
            await line.publish("/a/1", one)
        async with consuming(line):
            await come_true(lambda number=number: len(seen) == 1 + number)

    assert seen == [b"1", b"2"]
    assert await notes(ground) == ["1", "2"]


async def test_a_record_that_fails_is_parked_and_tried_as_a_record(ground):
    """What was set aside comes back in the form it failed in."""
    line = ground.line()
    seen = []

    async def take(record, tx):
        seen.append(record.data)
        if len(seen) == 1:
            raise ValueError("no")

    line.consume_records("raw", STREAMS, take, retry=QUICK)
    await line.publish("/a/1", 7)
    async with consuming(line):
        await caught_up(line, "raw")
        await come_true(lambda: len(seen) == 2)

    assert seen == [b"7", b"7"]
