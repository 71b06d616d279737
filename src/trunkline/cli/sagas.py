"""``trunkline sagas`` and ``trunkline pipelines``: where they stand, and how to help them on."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import ends_well
from trunkline.cli.table import moment, print_table

if TYPE_CHECKING:
    from trunkline.cqrs.sagas import Sagas, SagaState

Id = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")]


Act = Callable[["Sagas"], Awaitable[None]]


def commands_for(attribute: str, help_text: str) -> typer.Typer:
    """Return the commands that look after one kind.

    Args:
        attribute: What a line calls it: ``sagas`` or ``pipelines``.
        help_text: What it is.
    """
    app = command_group(help_text)

    def run(flags: OpenFlags, act: Act) -> None:
        act_on_line(flags, lambda line: act(getattr(line, attribute)))

    _add_reading(app, run)
    _add_deciding(app, run)
    return app


def _add_reading(app: typer.Typer, run: Callable[[OpenFlags, Act], None]) -> None:
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
        flags: OpenFlags,
    ) -> None:
        """Print them, newest first."""

        async def act(sagas: Sagas) -> None:
            _print_list(await sagas.list(status, limit=limit), as_json=flags.json)

        run(flags, act)

    @app.command()
    @ends_well
    @with_flags
    def show(saga_id: Id, *, flags: OpenFlags) -> None:
        """Print everything about one, its steps too."""

        async def act(sagas: Sagas) -> None:
            _print_one(await sagas.show(saga_id), as_json=flags.json)

        run(flags, act)


def _add_deciding(app: typer.Typer, run: Callable[[OpenFlags, Act], None]) -> None:
    @app.command()
    @ends_well
    @with_flags
    def retry(saga_id: Id, *, flags: OpenFlags) -> None:
        """Have one that is stuck, stopped or waiting go on at once."""

        async def act(sagas: Sagas) -> None:
            _tell(await sagas.retry(saga_id), as_json=flags.json)

        run(flags, act)

    @app.command()
    @ends_well
    @with_flags
    def skip(saga_id: Id, *, flags: OpenFlags) -> None:
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
        flags: OpenFlags,
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
    print_table(
        ("id", "name", "status", "steps", "holder", "since", "error"),
        (
            (
                one.id,
                one.name,
                one.status,
                " ".join(f"{step.name}:{step.status}" for step in one.steps),
                one.holder or "-",
                moment(one.moved_at),
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
        told[name] = moment(told[name])
    told["body"] = json.dumps(told["body"])
    print_table(("", ""), told.items())
    print_table(
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


sagas = commands_for("sagas", "See where the steps of commands stand, and help them on.")
pipelines = commands_for("pipelines", "See where runs of pipelines stand, and help them on.")
