"""``trunkline connections``: which app is installed where, and what it may hear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import ends_well, tell
from trunkline.cli.webhook_flags import AccountType, After, AppId, ChoiceFlags, Signals, app_id_of

if TYPE_CHECKING:
    from trunkline.app import Trunkline

app = command_group("See and change where apps are installed, and what accounts grant them.")

Ident = Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection's id.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SIGNAL]...", help="Which; all that wait, without any."),
]


@app.command("list")
@ends_well
@with_flags
def list_all(
    *,
    after: After = "",
    choice: ChoiceFlags,
    flags: OpenFlags,
) -> None:
    """Print connections: what is granted, and what waits for the account."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        found = await line.connections.list(after=after, **await choice.read(line))
        tables.print_connections(found, as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def connect(
    app_id: AppId,
    account: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="Digits are a number, '\"7\"' is text.")
    ],
    *,
    account_type: AccountType = "account",
    signal: Signals = None,
    flags: OpenFlags,
) -> None:
    """Install an app on an account."""
    from trunkline.webhooks.keys import read_key

    async def act(line: Trunkline) -> None:
        one = await line.connections.connect(
            await app_id_of(line, app_id),
            account_id=read_key(account),
            account_type=account_type,
            signals=signal or None,
        )
        tell(one.id, "connected", as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def grant(connection: Ident, signals: Names = None, *, flags: OpenFlags) -> None:
    """Let an app hear signals."""

    async def act(line: Trunkline) -> None:
        one = await line.connections.grant(connection, *(signals or ()))
        tell(one.id, "granted", " ".join(one.signals), as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def decline(connection: Ident, signals: Names = None, *, flags: OpenFlags) -> None:
    """Keep an app from signals, granted or not."""

    async def act(line: Trunkline) -> None:
        one = await line.connections.decline(connection, *(signals or ()))
        tell(one.id, "granted", " ".join(one.signals), as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def disconnect(connection: Ident, *, flags: OpenFlags) -> None:
    """Remove an app from an account; what is queued for it there is not sent any more."""

    async def act(line: Trunkline) -> None:
        await line.connections.disconnect(connection)
        tell(connection, "disconnected", as_json=flags.json)

    act_on_line(flags, act)
