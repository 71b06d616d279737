"""``trunkline transmissions``: what was, and is to be, sent to apps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.outcome import ends_well
from trunkline.cli.webhook_flags import ChoiceFlags, WebhookFlags, run

if TYPE_CHECKING:
    from trunkline.app import Trunkline

app = typer.Typer(
    no_args_is_help=True,
    help="See what was, and is to be, sent to apps; purge what is over.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    flags: WebhookFlags,
) -> None:
    """Print transmissions, the newest first."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        chosen = await choice.read(line)
        found = await line.transmissions.list(state=state, before=before, **chosen)
        tables.print_transmissions(found, as_json=flags.json)

    run(flags, act)


@app.command()
@ends_well
@with_flags
def show(
    delivery: Annotated[str, typer.Argument(metavar="ID", help="The delivery id.")],
    *,
    flags: WebhookFlags,
) -> None:
    """Print a transmission and all its attempts."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        one = await line.transmissions.get(delivery)
        attempts = await line.transmissions.attempts(delivery)
        tables.print_transmission(one, attempts, as_json=flags.json)

    run(flags, act)


@app.command()
@ends_well
@with_flags
def counts(*, flags: WebhookFlags) -> None:
    """Print how many transmissions are in each state."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        tables.print_counts(await line.transmissions.counts(), as_json=flags.json)

    run(flags, act)


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
    flags: WebhookFlags,
) -> None:
    """Remove old transmissions with their attempts; what is undelivered stays, however old."""
    from trunkline.cli import webhook_tables as tables
    from trunkline.runtime.quantity import duration

    async def act(line: Trunkline) -> None:
        age = duration("--older-than", older_than)
        count = await line.transmissions.purge(older_than=age, dead=dead)
        tables.tell("transmissions", "purged", count, as_json=flags.json)

    run(flags, act)
