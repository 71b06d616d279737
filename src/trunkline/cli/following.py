"""``trunkline routes``, ``trace`` and ``projections``: who hears what, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flags import JsonFlag, with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import ends_well, run_to_end

if TYPE_CHECKING:
    from trunkline.app import Trunkline
    from trunkline.cqrs.projection_build import BuildProgress
    from trunkline.cqrs.projections import ProjectionState

app = command_group("See where projections stand, and build them anew.")

Target = Annotated[
    str,
    typer.Argument(metavar="MODULE:OBJECT", help="The Trunkline where handlers are registered."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The projector's name.")]


@dataclass(frozen=True, kw_only=True)
class PlaceFlags:
    """Say which line, and how to print what it answers."""

    line: Annotated[
        str,
        typer.Option(
            metavar="MODULE:OBJECT",
            envvar="TRUNKLINE_LINE",
            help="The Trunkline where projectors are registered.",
        ),
    ]
    json: JsonFlag = False


@dataclass(frozen=True, kw_only=True)
class TraceFlags(OpenFlags):
    """Say which line, and how to print what it answers."""

    line: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:OBJECT",
            envvar="TRUNKLINE_LINE",
            help="The Trunkline where handlers are registered, to see where each stands.",
        ),
    ] = None


@ends_well
def routes(target: Target, *, as_json: JsonFlag = False) -> None:
    """Print who hears which names, in the order in which they are heard."""
    import msgspec

    from trunkline.cli.target import load_line

    table = load_line(target).routes()
    if not as_json:
        typer.echo(str(table))
        return
    for row in table:
        typer.echo(json.dumps(msgspec.to_builtins(row)))


@ends_well
@with_flags
def trace(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Of a command, an event, or a trace.")],
    *,
    flags: TraceFlags,
) -> None:
    """Print what a command led to: steps, events, and what became of each."""
    import msgspec

    async def act(line: Trunkline) -> None:
        tree = await line.traces.show(ident)
        typer.echo(msgspec.json.encode(tree).decode() if flags.json else str(tree))

    act_on_line(flags, act)


def _run(place: str, act: Callable[[Trunkline], Awaitable[None]]) -> None:
    """Open a line, even if its projections are behind, and act on it."""
    from trunkline.cli.target import load_line

    async def work() -> None:
        line = load_line(place)
        line.projections.may_be_behind = True
        async with line:
            await act(line)

    run_to_end(work())


@app.command("list")
@ends_well
@with_flags
def list_all(*, flags: PlaceFlags) -> None:
    """Print all projections: version, where they stand, and what is being built."""

    async def act(line: Trunkline) -> None:
        for state in await line.projections.list():
            _print_state(state, as_json=flags.json)

    _run(flags.line, act)


@app.command()
@ends_well
@with_flags
def rebuild(name: Name, *, flags: PlaceFlags) -> None:
    """Build a projection anew beside the live one, and have it take its place."""

    async def act(line: Trunkline) -> None:
        shown = _Progress(as_json=flags.json)
        done = await line.projections.rebuild(name, tell=shown)
        shown.end(done)

    _run(flags.line, act)


class _Progress:
    """Print how far a build has come, each percent once."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last = -1

    def __call__(self, progress: BuildProgress) -> None:
        percent = int(progress.share * 100)
        if percent > self._last:
            self._last = percent
            self._print(progress, f"{percent:3} %  {progress.events} events")

    def end(self, progress: BuildProgress) -> None:
        self._print(progress, f"live   {progress.events} events, up to {progress.position}")

    def _print(self, progress: BuildProgress, text: str) -> None:
        if self._as_json:
            typer.echo(json.dumps({**progress._asdict(), "share": round(progress.share, 4)}))
        else:
            typer.echo(f"{progress.name}  {text}")


def _print_state(state: ProjectionState, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(state)))
        return
    parts = [state.name, state.consistency, f"version {state.version}"]
    if state.version != state.code_version:
        parts.append(f"(this code: {state.code_version})")
    if not state.is_whole:
        parts.append("has yet to see what is older")
    if state.position is not None:
        parts.append(f"at {state.position} of {state.head}")
    if state.building is not None:
        parts.append(f"building version {state.building}: {state.built:.0%}")
    if state.error:
        parts.append(f"stands still: {state.error}")
    typer.echo("  ".join(parts))
