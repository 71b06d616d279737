"""What models of servers share: they keep plain drafts here, and one server serves all examples."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.log.test_sqlite_model import SQLiteAgainstMemory, interests
from trunkline.model.channel import Kind, is_stream_name

numbers = itertools.count()

SETTINGS = settings(max_examples=40, stateful_step_count=25, deadline=None)


def is_kept(draft):
    return draft.kind is Kind.PLAIN and not is_stream_name(draft.channel.name)


class ServerAgainstMemory(SQLiteAgainstMemory):
    """Do everything to both logs, the server through two handles in turns."""

    #: Says which log, and the address of each example's, with ``{}`` where its number goes.
    log = None
    url = ""

    def handles(self, made):
        url = self.url.format(next(numbers))
        return [self.log.from_url(url, options={}, **made) for _ in range(2)]

    def append_to_both(self, groups):
        super().append_to_both([list(filter(is_kept, group)) for group in groups])

    @rule(after=st.integers(0, 40), limit=st.integers(1, 5), interest=interests)
    def read_all(self, after, limit, interest):
        async def whole(log):
            position, records, lost = after, [], []
            while True:
                page = await log.read_all(position, limit, interest)
                records += page.records
                # A floor that nobody stands below need not be told.
                lost.append(page.floor if page.floor > after else 0)
                if page.upto >= page.head:
                    return records, lost[0], page.head
                assert page.upto > position
                position = page.upto

        expected, found = self.both(whole)
        assert found == expected
