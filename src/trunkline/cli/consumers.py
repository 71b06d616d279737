"""``trunkline consumers``: where durable consumers stand, and what to do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import USAGE, ends_well, fail, tell

if TYPE_CHECKING:
    from trunkline.channels.consumers import Consumers

app = command_group("See where durable consumers stand; pause, move and mend them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The consumer's name.")]
Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="[NUMBER]...", help="Parked messages, as the list numbers them."),
]
All = Annotated[bool, typer.Option("--all", metavar="", help="All that failed.")]

Act = Callable[["Consumers"], Awaitable[None]]


def _run(flags: OpenFlags, act: Act) -> None:
    """Open a line and act on its consumers."""
    act_on_line(flags, lambda line: act(line.consumers))


def _change(
    name: str, flags: OpenFlags, done: str, change: Callable[[Consumers], Awaitable[object]]
) -> None:
    """Change something about a consumer, and print what was done and what came of it."""

    async def act(consumers: Consumers) -> None:
        tell(name, done, await change(consumers), as_json=flags.json)

    _run(flags, act)


@app.command("list")
@ends_well
@with_flags
def list_all(*, flags: OpenFlags) -> None:
    """Print all consumers: status, how far behind, what is parked, and who runs them."""
    from trunkline.cli import consumer_tables as tables

    _run(flags, lambda consumers: tables.print_list(consumers, as_json=flags.json))


@app.command()
@ends_well
@with_flags
def show(name: Name, *, flags: OpenFlags) -> None:
    """Print everything about a consumer, the gaps it met too."""
    from trunkline.cli import consumer_tables as tables

    _run(flags, lambda consumers: tables.print_one(consumers, name, as_json=flags.json))


@app.command()
@ends_well
@with_flags
def lag(name: Name, *, flags: OpenFlags) -> None:
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
    flags: OpenFlags,
) -> None:
    """Have a consumer wait; what is under way is finished."""
    _change(name, flags, "paused", lambda consumers: consumers.pause(name, reason))


@app.command()
@ends_well
@with_flags
def resume(name: Name, *, flags: OpenFlags) -> None:
    """Have a paused or stopped consumer go on; behind a gap, with what is still kept."""
    _change(name, flags, "running", lambda consumers: consumers.resume(name))


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
    flags: OpenFlags,
) -> None:
    """Have a consumer go on elsewhere; what is parked stays parked."""

    async def act(consumers: Consumers) -> None:
        tell(name, "position", str(await consumers.seek(name, to)), as_json=flags.json)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def parked(
    name: Name,
    *,
    after: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Begin after it.")] = 0,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Messages at most.")] = 100,
    flags: OpenFlags,
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
def retry(name: Name, numbers: Numbers = None, *, every: All = False, flags: OpenFlags) -> None:
    """Have parked messages tried again at once; those behind them follow."""
    chosen = _chosen(numbers, every=every)
    _change(name, flags, "tried again", lambda consumers: consumers.retry(name, *chosen))


@app.command()
@ends_well
@with_flags
def skip(name: Name, numbers: Numbers = None, *, every: All = False, flags: OpenFlags) -> None:
    """Remove parked messages unhandled; those behind them follow."""
    chosen = _chosen(numbers, every=every)
    _change(name, flags, "skipped", lambda consumers: consumers.skip(name, *chosen))


@app.command()
@ends_well
@with_flags
def forget(name: Name, *, flags: OpenFlags) -> None:
    """Remove a consumer that no code declares any more, with all that is kept of it."""
    _change(name, flags, "forgotten", lambda consumers: consumers.forget(name))


def _chosen(numbers: Sequence[int] | None, *, every: bool) -> Sequence[int]:
    """Return the numbers given, none for all, and refuse what is neither or both."""
    if bool(numbers) == every:
        fail("say which: their numbers, or --all", status=USAGE)
    return numbers or ()
