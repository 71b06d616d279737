"""Whatever fails, however often: every message takes effect once, in the order of its key."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline import Trunkline
from trunkline.channels import consumer_handling
from trunkline.channels.consumer import Retry

messages = st.lists(
    st.tuples(
        st.sampled_from("abcd"),  # its key
        st.sampled_from([0, 0, 0, 1, 2, 3]),  # how often it fails
    ),
    min_size=1,
    max_size=30,
)


async def consume(url, given_messages, *, takes_tx, batch, later):
    """Consume with those failures and return the effects in order."""
    line = Trunkline(url)
    calls, effects = Counter(), []

    def attempt(message):
        calls[message.data["n"]] += 1
        if calls[message.data["n"]] <= message.data["fails"]:
            raise ValueError

    async def with_tx(given, tx):
        for message in given if batch else [given]:
            await tx.execute("INSERT INTO effect (n) VALUES (?)", message.data["n"])
            attempt(message)

    async def freely(given):
        for message in given if batch else [given]:
            attempt(message)
            effects.append(message.data["n"])

    line.consumer(
        "c",
        "/a",
        handler=with_tx if takes_tx else freely,
        batch=batch,
        key=lambda message: message.data["key"],
        retry=Retry(attempts=10, first=0.0001, limit=0.0001),
    )
    batches = [
        ("/a", {"n": n, "key": key, "fails": fails})
        for n, (key, fails) in enumerate(given_messages)
    ]
    async with line.transaction() as tx:
        await tx.execute("CREATE TABLE effect (at INTEGER PRIMARY KEY, n INTEGER)")
    await line.publish_many(batches[later:]) if batches[later:] else None
    await line.open(run_consumers=True)
    await line.publish_many(batches[:later]) if batches[:later] else None
    async with asyncio.timeout(30):
        await line.consumers.caught_up("c")
        while await line.consumers.parked("c"):
            await asyncio.sleep(0)
    if takes_tx:
        async with line.transaction() as tx:
            effects = [row[0] for row in await tx.fetch("SELECT n FROM effect ORDER BY at")]
    await line.close()
    return effects, [one[1]["n"] for one in batches[later:] + batches[:later]]


@settings(max_examples=25)
@given(
    given_messages=messages,
    takes_tx=st.booleans(),
    batch=st.sampled_from([None, 1, 3, 100]),
    later=st.integers(0, 30),
    budget=st.sampled_from([0.0, 0.05]),
)
def test_every_message_takes_effect_in_the_order_of_its_key(
    given_messages, takes_tx, batch, later, budget
):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumer_handling, "BUDGET", budget)
        logging.disable(logging.ERROR)
        try:
            effects, published = asyncio.run(
                consume(
                    f"sqlite:///{Path(folder) / 'line.db'}",
                    given_messages,
                    takes_tx=takes_tx,
                    batch=batch,
                    later=later,
                )
            )
        finally:
            logging.disable(logging.NOTSET)
    exactly_once = takes_tx or batch is None
    first = list(dict.fromkeys(effects))  # a list handled freely may come again in part
    assert sorted(effects if exactly_once else first) == sorted(published)
    for key in "abcd":
        mine = [n for n in published if given_messages[n][0] == key]
        assert [n for n in first if given_messages[n][0] == key] == mine
