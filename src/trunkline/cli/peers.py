"""``trunkline peers``, ``subscriptions`` and ``register``: services that tell each other."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import FAILURE, ends_well, fail, run_to_end, tell
from trunkline.cli.table import moment, print_table
from trunkline.cli.webhook_flags import After, Limit
from trunkline.errors import ConfigError

if TYPE_CHECKING:
    from trunkline.app import Trunkline
    from trunkline.webhooks.registering import Registered

peers = command_group("See, add and remove the services that may subscribe here, or that call us.")
subscriptions = command_group("See and end what other services have subscribed to here.")

Name = Annotated[str, typer.Argument(metavar="PEER", help="Its name here.")]
Secret = Annotated[
    str | None, typer.Option(metavar="FILE", help="A file with what it gave us, as JSON; - reads.")
]


@peers.command("list")
@ends_well
@with_flags
def list_peers(*, after: After = "", limit: Limit = 1000, flags: OpenFlags) -> None:
    """Print peers: how each proves who it is, and what it may subscribe to."""

    async def act(line: Trunkline) -> None:
        found = await line.siblings.peers.list(after=after, limit=limit)
        if flags.json:
            _print_json(found)
            return
        rows = (
            (one.name, one.format, _proof(one), one.scheme, " ".join(one.channels)) for one in found
        )
        print_table(("peer", "format", "comes with", "we send", "channels"), rows)

    act_on_line(flags, act)


@peers.command()
@ends_well
@with_flags
def add(
    name: Name,
    *,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="PATTERN",
            help="What it may subscribe to; repeatable. Without one, all.",
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", metavar="KIND", help="standard, or toot for a gem.")
    ] = "standard",
    send: Secret = None,
    flags: OpenFlags,
) -> None:
    """Add a peer, or replace it, and print as JSON what to give it; it is told only now."""
    from trunkline.webhooks.peer import Credentials

    try:
        given = None if send is None else msgspec.json.decode(_read(send), type=Credentials)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{send!r} is not what a peer gives: {error}") from error

    async def act(line: Trunkline) -> None:
        made = await line.siblings.peers.add(
            name, send=given, format=kind, channels=tuple(channel or ("**",))
        )
        print(msgspec.json.encode(made).decode())

    act_on_line(flags, act)


@peers.command()
@ends_well
@with_flags
def rotate(
    name: Name,
    *,
    grace: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Old ones stay valid: 0 for not at all, 1h, 7d."),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A file with the one that it has made; - reads."),
    ] = None,
    flags: OpenFlags,
) -> None:
    """Give a peer a new secret and print it; old ones stay valid for a while."""
    from trunkline.runtime.quantity import duration

    value = None if secret is None else _read(secret).decode("utf-8", "replace").strip()

    async def act(line: Trunkline) -> None:
        wait = None if grace is None else duration("--grace", grace)
        new = await line.siblings.peers.rotate_secret(name, grace=wait, value=value)
        tell(name, "secret", new, as_json=flags.json)

    act_on_line(flags, act)


@peers.command("remove")
@ends_well
@with_flags
def remove_peer(name: Name, *, flags: OpenFlags) -> None:
    """Remove a peer and its subscriptions; what is queued for it is not sent any more."""

    async def act(line: Trunkline) -> None:
        await line.siblings.peers.remove(name)
        tell(name, "removed", as_json=flags.json)

    act_on_line(flags, act)


@subscriptions.command("list")
@ends_well
@with_flags
def list_subscriptions(
    *,
    peer: Annotated[str | None, typer.Option(metavar="PEER", help="Only this peer's.")] = None,
    after: After = "",
    limit: Limit = 1000,
    flags: OpenFlags,
) -> None:
    """Print who subscribed to what here, where it is called, and until when."""

    async def act(line: Trunkline) -> None:
        found = await line.siblings.subscribers.list(peer=peer, after=after, limit=limit)
        if flags.json:
            _print_json(found)
            return
        rows = (
            (
                one.peer or "-",
                one.channel,
                one.callback_url,
                one.format,
                "-" if one.expires_at is None else moment(one.expires_at),
                one.endpoint_id,
            )
            for one in found
        )
        print_table(("peer", "channel", "callback", "format", "until", "endpoint"), rows)

    act_on_line(flags, act)


@subscriptions.command("remove")
@ends_well
@with_flags
def remove_subscription(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Its full name.")],
    callback: Annotated[str, typer.Argument(metavar="URL", help="Where it is called.")],
    *,
    flags: OpenFlags,
) -> None:
    """End a subscription that another service made here."""

    async def act(line: Trunkline) -> None:
        await line.siblings.subscribers.unsubscribe(channel, callback)
        tell(channel, "removed", callback, as_json=flags.json)

    act_on_line(flags, act)


@ends_well
def register(
    place: Annotated[
        str, typer.Argument(metavar="MODULE:OBJECT", help="The line that declares what it hears.")
    ],
    *,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Register all subscriptions at their sources now; exit 1 when one of them failed."""
    from trunkline.cli.target import load_line

    found: list[Registered] = []

    async def work() -> None:
        async with load_line(place) as line:
            found.extend(await line.siblings.register())

    run_to_end(work())
    if json_:
        _print_json(found)
    else:
        rows = ((one.source, one.channel, one.status or "-", one.error or "-") for one in found)
        print_table(("source", "channel", "status", "error"), rows)
    failed = sum(not one.is_ok for one in found)
    if failed:
        fail(f"{failed} of {len(found)} registrations failed", status=FAILURE)


def _proof(one: Any) -> str:
    kinds = [("password", one.has_password), ("signature", one.has_secret)]
    return " ".join(name for name, has in kinds if has) or "-"


def _read(place: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise ConfigError(f"{place!r} can't be read: {error.strerror}") from error


def _print_json(found: Sequence[Any]) -> None:
    for one in found:
        print(json.dumps(msgspec.to_builtins(one)))
