"""``trunkline consumers``: where durable consumers stand, and what to do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flags import LineFlags, with_flags
from trunkline.cli.outcome import ends_well, run_to_end

if TYPE_CHECKING:
    from trunkline.channels.consumers import Consumers

app = typer.Typer(
    no_args_is_help=True,
    help="See where durable consumers stand; pause, move and mend them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The consumer's name.")]
Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="[NUMBER]...", help="Parked messages, as the list numbers them."),
]
All = Annotated[bool, typer.Option("--all", metavar="", help="All that failed.")]


@dataclass(frozen=True, kw_only=True)
class ConsumerFlags(LineFlags):
    """Say which line, and how to print what it answers."""

    line: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:OBJECT", help="A Trunkline, for one that keeps its store elsewhere."
        ),
    ] = None


Act = Callable[["Consumers"], Awaitable[None]]


def _run(flags: ConsumerFlags, act: Act) -> None:
    """Open a line and act on its consumers."""
    from trunkline.app import Trunkline
    from trunkline.cli.target import load_line

    async def work() -> None:
        line = load_line(flags.line) if flags.line else Trunkline(flags.log)
        async with line:
            await act(line.consumers)

    run_to_end(work())


@app.command("list")
@ends_well
@with_flags
def list_all(*, flags: ConsumerFlags) -> None:
    """Print all consumers: status, how far behind, what is parked, and who runs them."""
    from trunkline.cli import consumer_tables as tables

    _run(flags, lambda consumers: tables.print_list(consumers, as_json=flags.json))


@app.command()
@ends_well
@with_flags
def show(name: Name, *, flags: ConsumerFlags) -> None:
    """Print everything about a consumer, the gaps it met too."""
    from trunkline.cli import consumer_tables as tables

    _run(flags, lambda consumers: tables.print_one(consumers, name, as_json=flags.json))


@app.command()
@ends_well
@with_flags
def lag(name: Name, *, flags: ConsumerFlags) -> None:
    """Print how many messages it has yet to handle, and the age of the oldest."""
    from trunkline.cli import consumer_tables as tables

    _run(flags, lambda consumers: tables.print_lag(consumers, name, as_json=flags.json))


@app.command()
@ends_well
@with_flags
def pause(
    name: Name,
    *,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Shown to whoever looks.")
    ] = "an operator paused it",
    flags: ConsumerFlags,
) -> None:
    """Have a consumer wait; what is under way is finished."""
    from trunkline.cli import consumer_tables as tables

    async def act(consumers: Consumers) -> None:
        await consumers.pause(name, reason)
        tables.tell(name, "paused", as_json=flags.json)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def resume(name: Name, *, flags: ConsumerFlags) -> None:
    """Have a paused or stopped consumer go on; behind a gap, with what is still kept."""
    from trunkline.cli import consumer_tables as tables

    async def act(consumers: Consumers) -> None:
        await consumers.resume(name)
        tables.tell(name, "running", as_json=flags.json)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def seek(
    name: Name,
    to: Annotated[
        str,
        typer.Argument(metavar="WHERE", help="oldest (replay all that is kept), now, a position."),
    ],
    *,
    flags: ConsumerFlags,
) -> None:
    """Have a consumer go on elsewhere; what is parked stays parked."""
    from trunkline.cli import consumer_tables as tables

    async def act(consumers: Consumers) -> None:
        position = await consumers.seek(name, to)
        tables.tell(name, "position", str(position), as_json=flags.json)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def parked(
    name: Name,
    *,
    after: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Begin after it.")] = 0,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Messages at most.")] = 100,
    flags: ConsumerFlags,
) -> None:
    """Print the messages that failed, and those that wait behind them."""
    from trunkline.cli import consumer_tables as tables

    async def act(consumers: Consumers) -> None:
        found = await consumers.parked(name, after=after, limit=limit)
        tables.print_parked(found, as_json=flags.json)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def retry(name: Name, numbers: Numbers = None, *, every: All = False, flags: ConsumerFlags) -> None:
    """Have parked messages tried again at once; those behind them follow."""
    from trunkline.cli import consumer_tables as tables

    async def act(consumers: Consumers) -> None:
        count = await consumers.retry(name, *tables.chosen(numbers, every=every))
        tables.tell(name, "tried again", count, as_json=flags.json)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def skip(name: Name, numbers: Numbers = None, *, every: All = False, flags: ConsumerFlags) -> None:
    """Remove parked messages unhandled; those behind them follow."""
    from trunkline.cli import consumer_tables as tables

    async def act(consumers: Consumers) -> None:
        count = await consumers.skip(name, *tables.chosen(numbers, every=every))
        tables.tell(name, "skipped", count, as_json=flags.json)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def forget(name: Name, *, flags: ConsumerFlags) -> None:
    """Remove a consumer that no code declares any more, with all that is kept of it."""
    from trunkline.cli import consumer_tables as tables

    async def act(consumers: Consumers) -> None:
        await consumers.forget(name)
        tables.tell(name, "forgotten", as_json=flags.json)

    _run(flags, act)
