"""``trunkline transmissions``: what was, and is to be, sent to apps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import ends_well, tell
from trunkline.cli.webhook_flags import ChoiceFlags

if TYPE_CHECKING:
    from trunkline.app import Trunkline

app = command_group("See what was, and is to be, sent to apps; purge what is over.")


@app.command("list")
@ends_well
@with_flags
def list_all(
    *,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE", help="Only queued, sending, sent, failed, dead or withdrawn."
        ),
    ] = None,
    before: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Only those with a lower number.")
    ] = None,
    choice: ChoiceFlags,
    flags: OpenFlags,
) -> None:
    """Print transmissions, the newest first."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        chosen = await choice.read(line)
        found = await line.transmissions.list(state=state, before=before, **chosen)
        tables.print_transmissions(found, as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def show(
    delivery: Annotated[str, typer.Argument(metavar="ID", help="The delivery id.")],
    *,
    flags: OpenFlags,
) -> None:
    """Print a transmission and all its attempts."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        one = await line.transmissions.get(delivery)
        attempts = await line.transmissions.attempts(delivery)
        tables.print_transmission(one, attempts, as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def counts(*, flags: OpenFlags) -> None:
    """Print how many transmissions are in each state."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        tables.print_counts(await line.transmissions.counts(), as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def purge(
    *,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Over for longer than this: 12h, 30d.")
    ],
    dead: Annotated[
        bool, typer.Option("--dead", metavar="", help="Remove what was given up too.")
    ] = False,
    flags: OpenFlags,
) -> None:
    """Remove old transmissions with their attempts; what is undelivered stays, however old."""
    from trunkline.runtime.quantity import duration

    async def act(line: Trunkline) -> None:
        age = duration("--older-than", older_than)
        count = await line.transmissions.purge(older_than=age, dead=dead)
        tell("transmissions", "purged", count, as_json=flags.json)

    act_on_line(flags, act)
