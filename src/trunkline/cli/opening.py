"""What most commands have in common: they open a line, act on it, and close it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flags import LineFlags
from trunkline.cli.outcome import run_to_end

if TYPE_CHECKING:
    from trunkline.app import Trunkline


@dataclass(frozen=True, kw_only=True)
class OpenFlags(LineFlags):
    """Say which line, also one that code makes, and how to print what it answers."""

    line: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:OBJECT", help="A Trunkline, for one that keeps its store elsewhere."
        ),
    ] = None


def act_on_line(flags: OpenFlags, act: Callable[[Trunkline], Awaitable[None]]) -> None:
    """Open a line and act on it.

    Args:
        flags: Which line.
        act: What is done while it is open.
    """
    from trunkline.app import Trunkline
    from trunkline.cli.target import load_line

    async def work() -> None:
        line = load_line(flags.line) if flags.line else Trunkline(flags.log)
        async with line:
            await act(line)

    run_to_end(work())


def command_group(help_text: str) -> typer.Typer:
    """Return a group of commands, which prints its help when none of them is named.

    Args:
        help_text: What the group is for.
    """
    return typer.Typer(
        no_args_is_help=True,
        help=help_text,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
