"""``trunkline migrate``: the tables of log, store and outboxes."""

from __future__ import annotations

import os

from trunkline.cli.flags import MigrateFlags
from trunkline.cli.outcome import fail
from trunkline.cli.target import load_line
from trunkline.errors import ConfigError


async def migrate(place: str | None, *, log: str | None, flags: MigrateFlags) -> None:
    """Bring tables up to date, or say what is missing, or print the statements.

    Args:
        place: ``MODULE:OBJECT``, or None.
        log: URL of the log, or None for the setting.
        flags: Which of the three.
    """
    if log is not None:
        os.environ["TRUNKLINE_LOG"] = log
    line = load_line(place)
    if flags.check and flags.sql:
        raise ConfigError("say one of --check and --sql")
    tables = line.tables()
    if flags.sql:
        for statement in tables.script():
            print(f"{statement}\n")
        return
    missing = await tables.missing()
    if not flags.check:
        await line.open()
        await line.close()
    for one in missing:
        print(f"{'missing' if flags.check else 'ran'}: {one}", flush=True)
    if not missing:
        print("everything is up to date")
    elif flags.check:
        fail("tables are missing: run trunkline migrate")
