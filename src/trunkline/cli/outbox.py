"""``trunkline outbox``: what transactions left that no log would take, and what to do with it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import USAGE, ends_well, fail

if TYPE_CHECKING:
    from trunkline.app import Trunkline
    from trunkline.store.outbox import Outbox, Parked

app = command_group("See what transactions left that no log would take; send it again, or drop it.")

Numbers = Annotated[
    list[int] | None, typer.Argument(metavar="[NUMBER]...", help="Messages, as listed.")
]
All = Annotated[bool, typer.Option("--all", metavar="", help="All that are listed.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Messages at most.")]
#: Messages acted on at once.
PART = 1000
NONE = "it has none; they stand in its log on SQLite or PostgreSQL, in store= and in outboxes="


@dataclass(frozen=True, kw_only=True)
class OutboxFlags(OpenFlags):
    """Say which line and which of its outboxes."""

    line: Annotated[
        str | None,
        typer.Option(metavar="MODULE:OBJECT", help="A Trunkline, for one with outboxes elsewhere."),
    ] = None
    outbox: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Which of several: 1 is in the line's own database."),
    ] = 1


def _run(flags: OutboxFlags, act: Callable[[Outbox], Awaitable[None]]) -> None:
    async def on_line(line: Trunkline) -> None:
        found = line.outboxes()
        if flags.outbox > len(found):
            have = f"its outboxes are 1 to {len(found)}" if found else NONE
            fail(f"this line has no outbox {flags.outbox}: {have}", status=USAGE)
        await act(found[flags.outbox - 1])

    act_on_line(flags, on_line)


@app.command("list")
@ends_well
@with_flags
def list_parked(*, limit: Limit = 100, flags: OutboxFlags) -> None:
    """Print the messages that no log took, and why."""

    async def act(outbox: Outbox) -> None:
        found = await outbox.parked(limit)
        if flags.json:
            for one in found:
                print(json.dumps(_object(one)))
            return
        from trunkline.cli.table import moment, print_table

        rows = ((one.seq, moment(one.parked_at), _channel(one), one.error) for one in found)
        print_table(("number", "since", "channel", "error"), rows)

    _run(flags, act)


@app.command()
@ends_well
@with_flags
def retry(numbers: Numbers = None, *, every: All = False, flags: OutboxFlags) -> None:
    """Send messages again, behind all that wait, when what kept them out is mended."""
    _act_on(numbers, every, flags, lambda outbox: outbox.retry, "sent again")


@app.command()
@ends_well
@with_flags
def drop(numbers: Numbers = None, *, every: All = False, flags: OutboxFlags) -> None:
    """Forget messages for good."""
    _act_on(numbers, every, flags, lambda outbox: outbox.drop, "dropped")


Act = Callable[[list[int]], Awaitable[int]]


def _act_on(
    numbers: list[int] | None,
    every: bool,  # noqa: FBT001 - a flag's value, handed on
    flags: OutboxFlags,
    choose: Callable[[Outbox], Act],
    done: str,
) -> None:
    if bool(numbers) == every:
        fail("say which: their numbers, or --all", status=USAGE)

    async def act(outbox: Outbox) -> None:
        do, count = choose(outbox), 0
        if numbers:
            count = await do(numbers)
        else:
            while found := [one.seq for one in await outbox.parked(PART)]:
                count += await do(found)
        if numbers and count < len(set(numbers)):
            fail(f"{count} {done}; the others are not there: trunkline outbox list shows what is")
        print(json.dumps({done.replace(" ", "_"): count}) if flags.json else f"{count} {done}")

    _run(flags, act)


def _object(one: Parked) -> dict[str, Any]:
    told = {"number": one.seq, "parked_at": one.parked_at, "error": one.error}
    draft = _draft(one)
    if draft is not None:
        import msgspec

        told |= {"channel": draft.channel.name, "site_id": draft.channel.site_id}
        told["data"] = msgspec.json.decode(draft.data)
    return told


def _channel(one: Parked) -> str:
    draft = _draft(one)
    return "-" if draft is None else str(draft.channel)


def _draft(one: Parked) -> Any:
    """Return the message that was left, None when the row holds none."""
    from trunkline.errors import InvalidMessageError
    from trunkline.store.envelope import unseal

    try:
        return unseal(one.sealed)
    except InvalidMessageError:
        return None
