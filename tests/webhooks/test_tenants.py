"""No delivery ever crosses from one account to another, whatever is installed and fired."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.databases import Ground
from tests.webhooks.school import installed, resolved, school
from trunkline.webhooks.signal import Signal

ACCOUNTS = st.sampled_from([1, "1", 0, "0", uuid.UUID(int=1), str(uuid.UUID(int=1)), "[1]", "*"])
NAMES = ("lesson", "user", "lesson.user")
GRANTS = st.lists(st.sampled_from([*NAMES, "*"]), max_size=2, unique=True)


def kinds():
    """Make a signal of each name."""

    def find(self, object_id):
        return object_id

    async def payload(self):
        return {}

    members = {"find": find, "payload": payload}
    return {name: type(name, (Signal,), {**members, "signal_name": name}) for name in NAMES}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(ACCOUNTS, GRANTS), min_size=1, max_size=5),
    st.lists(st.tuples(ACCOUNTS, st.sampled_from(NAMES)), min_size=1, max_size=5),
)
def test_an_app_hears_what_its_account_granted_and_nothing_else(installations, fired):
    asyncio.run(_check(installations, fired))


async def _check(installations, fired):
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'line.db'}"
        classes = kinds()
        async with school(Ground("sqlite", url, url, "?"), *classes.values()) as (line, mailbox):
            apps = [await installed(line, one, signals=names) for one, names in installations]
            for number, (account, name) in enumerate(fired):
                await line.signal(classes[name](number, account_id=account), "made")
            await resolved(line)
            found = {(one.app_id, int(one.object_id)) for one in await mailbox.claim()}
            wanted = {
                (app.id, number)
                for app, (one, names) in zip(apps, installations, strict=True)
                for number, (account, name) in enumerate(fired)
                if (type(one), one) == (type(account), account) and {name, "*"} & set(names)
            }
            assert found == wanted
