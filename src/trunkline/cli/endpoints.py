"""``trunkline endpoints``: how the receivers of webhooks fare, and what to send them again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from trunkline.cli.flags import with_flags
from trunkline.cli.opening import OpenFlags, act_on_line, command_group
from trunkline.cli.outcome import ends_well

if TYPE_CHECKING:
    from trunkline.app import Trunkline
    from trunkline.webhooks.endpoints import EndpointState, Recovery

app = command_group("See how the receivers of webhooks fare; enable them, and send again.")

Id = Annotated[str, typer.Argument(metavar="ENDPOINT", help="As the list shows it.")]
Since = Annotated[
    str, typer.Option(metavar="AGE", help="Only what was queued within so long, such as 2d.")
]
Until = Annotated[
    str, typer.Option(metavar="AGE", help="And not within so long; 0s for up to now.")
]


@app.command("list")
@ends_well
@with_flags
def list_all(
    *,
    after: Annotated[str, typer.Option(metavar="ENDPOINT", help="Begin after it.")] = "",
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Endpoints at most.")] = 1000,
    flags: OpenFlags,
) -> None:
    """Print endpoints: state, what waits and since when, and the last hour's success rate."""

    async def act(line: Trunkline) -> None:
        _print_endpoints(
            await line.webhooks.endpoints.list(after=after, limit=limit), as_json=flags.json
        )

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def show(endpoint_id: Id, *, flags: OpenFlags) -> None:
    """Print everything about an endpoint."""

    async def act(line: Trunkline) -> None:
        from trunkline.cli.table import print_table

        told = msgspec.structs.asdict(await line.webhooks.endpoints.show(endpoint_id))
        if flags.json:
            print(json.dumps(told))
        else:
            print_table(("", ""), [(name, _shown(name, value)) for name, value in told.items()])

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def enable(endpoint_id: Id, *, flags: OpenFlags) -> None:
    """Have an endpoint get requests again; see replay for what it missed."""

    async def act(line: Trunkline) -> None:
        await line.webhooks.endpoints.enable(endpoint_id)
        _tell(endpoint_id, "enabled", as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def disable(
    endpoint_id: Id,
    *,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Shown to whoever looks.")
    ] = "an operator disabled it",
    flags: OpenFlags,
) -> None:
    """Have an endpoint get nothing any more; what waits for it is given up."""

    async def act(line: Trunkline) -> None:
        await line.webhooks.endpoints.disable(endpoint_id, reason)
        _tell(endpoint_id, "disabled", as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def resend(
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="A transmission's id.")],
    *,
    flags: OpenFlags,
) -> None:
    """Have one transmission sent again; under a new id if it was delivered."""

    async def act(line: Trunkline) -> None:
        found = await line.webhooks.endpoints.resend(delivery_id)
        _tell(delivery_id, "sent again as", found, as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def recover(endpoint_id: Id, *, since: Since = "1d", until: Until = "0s", flags: OpenFlags) -> None:
    """Have everything sent again that was given up after attempts; a worker does it."""
    _again("recover", endpoint_id, (since, until), flags)


@app.command()
@ends_well
@with_flags
def replay(endpoint_id: Id, *, since: Since = "1d", until: Until = "0s", flags: OpenFlags) -> None:
    """Have everything sent that was never tried, for the endpoint was disabled."""
    _again("replay", endpoint_id, (since, until), flags)


def _again(kind: str, endpoint_id: str, span: tuple[str, str], flags: OpenFlags) -> None:
    from trunkline.runtime import quantity

    now = time.time()
    since, until = (
        now - quantity.duration(name, text)
        for name, text in zip(("--since", "--until"), span, strict=True)
    )

    async def act(line: Trunkline) -> None:
        begin = getattr(line.webhooks.endpoints, kind)
        _print_recoveries([await begin(endpoint_id, since=since, until=until)], as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def recoveries(*, flags: OpenFlags) -> None:
    """Print what is, or was, sent again in the background, and how far it is."""

    async def act(line: Trunkline) -> None:
        _print_recoveries(await line.webhooks.endpoints.recoveries(), as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def cancel(
    recovery_id: Annotated[str, typer.Argument(metavar="RECOVERY", help="As the list shows it.")],
    *,
    flags: OpenFlags,
) -> None:
    """End such background work; what it found already is sent."""

    async def act(line: Trunkline) -> None:
        await line.webhooks.endpoints.cancel(recovery_id)
        _tell(recovery_id, "cancelled", as_json=flags.json)

    act_on_line(flags, act)


@app.command()
@ends_well
@with_flags
def metrics(*, flags: OpenFlags) -> None:
    """Print how all endpoints fare, in Prometheus' text format."""

    async def act(line: Trunkline) -> None:
        from trunkline.webhooks.exposition import expose

        states = await line.webhooks.endpoints.list(limit=100_000)
        print(expose(states, now=time.time()), end="")

    act_on_line(flags, act)


# -- printing ---------------------------------------------------------------------------------


def _tell(name: str, what: str, value: object = True, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"id": name, what: value}))
    else:
        print(f"{name}: {what}" + ("" if value is True else f" {value}"))


def _print_endpoints(found: Sequence[EndpointState], *, as_json: bool) -> None:
    from trunkline.cli.table import moment, print_table

    if as_json:
        _print_json(found)
        return
    rows = (
        (
            one.id,
            one.state if one.breaker == "closed" else f"{one.state}, breaker {one.breaker}",
            one.waiting,
            one.sending,
            moment(one.oldest_due),
            "-" if one.success_rate is None else f"{100 * one.success_rate:.1f} %",
            one.failures,
            one.url,
        )
        for one in found
    )
    titles = ("endpoint", "state", "waiting", "sending", "oldest due", "success", "failures", "url")
    print_table(titles, rows)


def _print_recoveries(found: Sequence[Recovery], *, as_json: bool) -> None:
    from trunkline.cli.table import moment, print_table

    if as_json:
        _print_json(found)
        return
    rows = (
        (
            one.id,
            one.kind,
            one.endpoint_id,
            one.state,
            f"{100 * one.progress:.0f} %",
            one.found,
            moment(one.created_at),
        )
        for one in found
    )
    print_table(("id", "kind", "endpoint", "state", "done", "found", "begun"), rows)


def _print_json(found: Iterable[msgspec.Struct]) -> None:
    for one in found:
        print(json.dumps(msgspec.structs.asdict(one)))


def _shown(name: str, value: object) -> object:
    from trunkline.cli.table import moment

    is_time = name.endswith(("_at", "_until", "_since", "_due"))
    return moment(value or None) if is_time and isinstance(value, float) else value
