"""``trunkline apps``: external apps, what they ask for, and their secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import ends_well, tell, without_none
from trunkline.cli.webhook_flags import After, AppId, Limit, Signals, app_id_of

if TYPE_CHECKING:
    from trunkline.app import Trunkline

app = command_group("See, add and change the apps that accounts may install.")

Url = Annotated[str | None, typer.Option(metavar="URL", help="Where its signals go.")]
EntryUrl = Annotated[str | None, typer.Option(metavar="URL", help="Where its users enter it.")]
Indicator = Annotated[str | None, typer.Option(metavar="NAME", help="A short name of its own.")]
Purpose = Annotated[
    str, typer.Option(metavar="KIND", help="signal, signal_ed25519 (v1a) or entry.")
]


@app.command("list")
@ends_well
@with_flags
def list_all(*, after: After = "", limit: Limit = 100, flags: OpenFlags) -> None:
    """Print apps: what they ask for, where they are reached, and whether they are enabled."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        found = await line.apps.list(after=after, limit=limit)
        tables.print_apps(found, as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def show(app_id: AppId, *, flags: OpenFlags) -> None:
    """Print everything about an app, its secrets masked."""
    from trunkline.cli import webhook_tables as tables

    async def act(line: Trunkline) -> None:
        one = await line.apps.get(await app_id_of(line, app_id))
        tables.print_app(one, await line.apps.secrets(one.id), as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="For people.")],
    *,
    signal: Signals = None,
    signal_url: Url = None,
    entry_url: EntryUrl = None,
    indicator: Indicator = None,
    flags: OpenFlags,
) -> None:
    """Add an app; its secret is printed by reveal."""

    async def act(line: Trunkline) -> None:
        one = await line.apps.create(
            name,
            signals=signal or (),
            signal_url=signal_url,
            entry_url=entry_url,
            indicator=indicator,
        )
        tell(one.id, "created", as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def update(
    app_id: AppId,
    *,
    signal: Signals = None,
    signal_url: Url = None,
    entry_url: EntryUrl = None,
    approval: Annotated[
        bool, typer.Option(help="Whether accounts approve newly asked signals.")
    ] = True,
    flags: OpenFlags,
) -> None:
    """Change an app; what it no longer asks for is taken from all its connections."""
    fields: Any = without_none(
        {"signals": signal or None, "signal_url": signal_url, "entry_url": entry_url}
    )

    async def act(line: Trunkline) -> None:
        ident = await app_id_of(line, app_id)
        one = await line.apps.update(ident, approval=approval, **fields)
        tell(one.id, "updated", as_json=flags.json)

    act_on_line(flags, act)


@app.command("grant-all")
@ends_well
@with_flags
def grant_all(app_id: AppId, *, flags: OpenFlags) -> None:
    """Grant every connection of an app exactly what the app asks for."""

    async def act(line: Trunkline) -> None:
        ident = await app_id_of(line, app_id)
        tell(ident, "changed", await line.apps.grant_all(ident), as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def reveal(app_id: AppId, *, purpose: Purpose = "signal", flags: OpenFlags) -> None:
    """Print an app's current secret, for its maker."""

    async def act(line: Trunkline) -> None:
        ident = await app_id_of(line, app_id)
        secret = await line.apps.reveal_secret(ident, purpose)
        tell(ident, "secret", secret, as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def rotate(
    app_id: AppId,
    *,
    purpose: Purpose = "signal",
    grace: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Old ones stay valid: 0 for not at all, 1h, 7d."),
    ] = None,
    flags: OpenFlags,
) -> None:
    """Give an app a new secret and print it; old ones stay valid for a while."""
    from trunkline.runtime.quantity import duration

    async def act(line: Trunkline) -> None:
        ident = await app_id_of(line, app_id)
        wait = None if grace is None else duration("--grace", grace)
        secret = await line.apps.rotate_secret(ident, purpose, grace=wait)
        tell(ident, "secret", secret, as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def delete(app_id: AppId, *, flags: OpenFlags) -> None:
    """Remove an app, its connections and secrets; what is queued for it is withdrawn."""

    async def act(line: Trunkline) -> None:
        ident = await app_id_of(line, app_id)
        await line.apps.delete(ident)
        tell(ident, "deleted", as_json=flags.json)

    act_on_line(flags, act)
