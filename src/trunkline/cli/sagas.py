"""``trunkline sagas`` and ``trunkline pipelines``: where they stand, and how to help them on."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.flags import LineFlags, with_flags
from trunkline.cli.outcome import ends_well, run_to_end

if TYPE_CHECKING:
    from trunkline.cqrs.sagas import Sagas, SagaState

Id = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")]


@dataclass(frozen=True, kw_only=True)
class SagaFlags(LineFlags):
    """Say which line, and how to print what it answers."""

    line: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:OBJECT", help="A Trunkline, for one that keeps its store elsewhere."
        ),
    ] = None


Act = Callable[["Sagas"], Awaitable[None]]


def commands_for(attribute: str, help_text: str) -> typer.Typer:
    """Return the commands that look after one kind.

    Args:
        attribute: What a line calls it: ``sagas`` or ``pipelines``.
        help_text: What it is.
    """
    app = typer.Typer(
        no_args_is_help=True,
        help=help_text,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def run(flags: SagaFlags, act: Act) -> None:
        from trunkline.app import Trunkline
        from trunkline.cli.target import load_line

        async def work() -> None:
            line = load_line(flags.line) if flags.line else Trunkline(flags.log)
            async with line:
                await act(getattr(line, attribute))

        run_to_end(work())

    _add_reading(app, run)
    _add_deciding(app, run)
    return app


def _add_reading(app: typer.Typer, run: Callable[[SagaFlags, Act], None]) -> None:
    @app.command("list")
    @ends_well
    @with_flags
    def list_all(
        *,
        status: Annotated[
            str | None,
            typer.Option(metavar="STATUS", help="Only those: running, undoing, stopped, stuck …"),
        ] = None,
        limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 100,
        flags: SagaFlags,
    ) -> None:
        """Print them, newest first."""

        async def act(sagas: Sagas) -> None:
            _print_list(await sagas.list(status, limit=limit), as_json=flags.json)

        run(flags, act)

    @app.command()
    @ends_well
    @with_flags
    def show(saga_id: Id, *, flags: SagaFlags) -> None:
        """Print everything about one, its steps too."""

        async def act(sagas: Sagas) -> None:
            _print_one(await sagas.show(saga_id), as_json=flags.json)

        run(flags, act)


def _add_deciding(app: typer.Typer, run: Callable[[SagaFlags, Act], None]) -> None:
    @app.command()
    @ends_well
    @with_flags
    def retry(saga_id: Id, *, flags: SagaFlags) -> None:
        """Have one that is stuck, stopped or waiting go on at once."""

        async def act(sagas: Sagas) -> None:
            _tell(await sagas.retry(saga_id), as_json=flags.json)

        run(flags, act)

    @app.command()
    @ends_well
    @with_flags
    def skip(saga_id: Id, *, flags: SagaFlags) -> None:
        """Leave out the step or undo that is in the way, and go on behind it."""

        async def act(sagas: Sagas) -> None:
            _tell(await sagas.skip(saga_id), as_json=flags.json)

        run(flags, act)

    @app.command()
    @ends_well
    @with_flags
    def abandon(
        saga_id: Id,
        *,
        reason: Annotated[
            str, typer.Option(metavar="TEXT", help="Shown to whoever looks.")
        ] = "an operator abandoned it",
        flags: SagaFlags,
    ) -> None:
        """End one as it is: nothing more of it is run or undone."""

        async def act(sagas: Sagas) -> None:
            _tell(await sagas.abandon(saga_id, reason), as_json=flags.json)

        run(flags, act)


def _print_list(found: Sequence[SagaState], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            print(json.dumps(_object(one)))
        return
    _print_table(
        ("id", "name", "status", "steps", "holder", "since", "error"),
        (
            (
                one.id,
                one.name,
                one.status,
                " ".join(f"{step.name}:{step.status}" for step in one.steps),
                one.holder or "-",
                _clock(one.moved_at),
                one.error,
            )
            for one in found
        ),
    )


def _print_one(one: SagaState, *, as_json: bool) -> None:
    told = _object(one)
    if as_json:
        print(json.dumps(told))
        return
    steps = told.pop("steps")
    for name in ("due_at", "begun_at", "moved_at"):
        told[name] = _clock(told[name])
    told["body"] = json.dumps(told["body"])
    _print_table(("", ""), told.items())
    _print_table(
        ("step", "status", "tries", "undo", "undo tries", "output", "error"),
        (
            (
                step["name"],
                step["status"],
                step["attempts"],
                step["undo"] or "-",
                step["undo_attempts"],
                json.dumps(step["output"]),
                step["error"],
            )
            for step in steps
        ),
    )


def _tell(one: SagaState, *, as_json: bool) -> None:
    print(
        json.dumps({"id": one.id, "status": one.status}) if as_json else f"{one.id}: {one.status}"
    )


def _object(one: SagaState) -> dict[str, Any]:
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(one)
    return told


def _print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, header_style="bold", pad_edge=False, show_header=any(titles))
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    Console(soft_wrap=True).print(table)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


sagas = commands_for("sagas", "See where the steps of commands stand, and help them on.")
pipelines = commands_for("pipelines", "See where runs of pipelines stand, and help them on.")
