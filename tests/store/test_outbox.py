"""The outbox hands out whole transactions, however it is cut."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.sql.database import Dialect
from trunkline.store import outbox as outbox_module
from trunkline.store.guests.guest import REMEMBERED, Style, Tokens
from trunkline.store.outbox import Outbox


class Rows:
    """Be a transaction on a SQLite table that holds some rows."""

    dialect = Dialect.SQLITE

    def __init__(self, tokens):
        self.rows = [(seq, token, b"") for seq, token in enumerate(tokens, 1)]

    async def fetch(self, statement, limit):
        return self.rows[:limit]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=12),
    st.integers(1, 8),
)
@pytest.mark.filterwarnings("ignore")
def test_batches_end_where_transactions_do(runs, batch):
    import asyncio

    tokens = [token for token, count in runs for _ in range(count)]
    source = Rows(tokens)
    outbox = Outbox(SimpleNamespace(dialect=Dialect.SQLITE, schema=""), "i")
    before, outbox_module.BATCH = outbox_module.BATCH, batch
    seen = []
    try:
        while source.rows:
            groups = asyncio.run(outbox.read(source))
            assert groups, "it must move on"
            taken = sum(map(len, groups))
            last = source.rows[taken - 1][1]
            assert taken == len(source.rows) or source.rows[taken][1] != last
            seen += [entry.seq for group in groups for entry in group]
            source.rows = source.rows[taken:]
    finally:
        outbox_module.BATCH = before
    assert seen == list(range(1, len(tokens) + 1))


async def test_a_huge_transaction_is_cut_in_the_end(monkeypatch):
    monkeypatch.setattr(outbox_module, "BATCH", 2)
    monkeypatch.setattr(outbox_module, "WHOLE", 8)
    outbox = Outbox(SimpleNamespace(dialect=Dialect.SQLITE, schema=""), "i")
    (group,) = await outbox.read(Rows(["a"] * 50))
    assert len(group) == 9


class Anchor:
    """Be something that can be referred to weakly."""


@pytest.mark.parametrize("make", [Anchor, lambda: (object(),)])
def test_a_transaction_has_one_token_until_a_new_one_is_certain(make):
    tokens, anchor, other = Tokens(), make(), make()
    first = tokens.of(anchor, is_new=True)
    assert tokens.of(other, is_new=True) != first
    assert tokens.of(anchor, is_new=False) == first
    assert tokens.of(anchor, is_new=True) != first


def test_what_is_remembered_of_connections_is_bounded():
    tokens = Tokens()
    kept = [(number,) for number in range(REMEMBERED + 100)]
    for one in kept:
        tokens.of(one, is_new=True)
    assert len(tokens._by_id) == REMEMBERED


@pytest.mark.parametrize(
    ("dialect", "name", "text"),
    [
        (Dialect.SQLITE, "qmark", "I (?, ?), (?, ?)"),
        (Dialect.POSTGRES, "numeric_dollar", "I ($1), ($2)"),
        (Dialect.POSTGRES, "pyformat", "I (%s), (%s)"),
        (Dialect.SQLITE, "format", "I (%s, %s), (%s, %s)"),
    ],
)
def test_rows_become_one_statement_in_the_driver_s_style(dialect, name, text):
    ((statement, values),) = Style(dialect, name).statements("I ", [b"1", b"2"], "t")
    assert statement == text
    assert [one for one in values if one != "t"] == [b"1", b"2"]
