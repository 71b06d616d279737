"""The commands and their flags; each imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from trunkline.cli.apps import app as apps
from trunkline.cli.connections import app as connections
from trunkline.cli.consumers import app as consumers
from trunkline.cli.endpoints import app as endpoints
from trunkline.cli.flags import (
    InputFlags,
    LineFlags,
    LogFlag,
    MigrateFlags,
    PublishFlags,
    ServeFlags,
    SiteFlag,
    with_flags,
)
from trunkline.cli.following import app as projections
from trunkline.cli.following import routes, trace
from trunkline.cli.outbox import app as outbox
from trunkline.cli.outcome import ends_well, fail, run_to_end, without_none
from trunkline.cli.peers import peers, register, subscriptions
from trunkline.cli.sagas import pipelines, sagas
from trunkline.cli.transmissions import app as transmissions
from trunkline.model.pattern import is_pattern
from trunkline.model.release import VERSION

if TYPE_CHECKING:
    from trunkline.app import Trunkline

app = typer.Typer(
    name="trunkline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(consumers, name="consumers", rich_help_panel="Operate")
app.add_typer(outbox, name="outbox", rich_help_panel="Operate")
app.add_typer(projections, name="projections", rich_help_panel="Operate")
app.command(rich_help_panel="Operate")(routes)
app.command(rich_help_panel="Operate")(trace)
app.add_typer(apps, name="apps", rich_help_panel="Webhooks")
app.add_typer(connections, name="connections", rich_help_panel="Webhooks")
app.add_typer(transmissions, name="transmissions", rich_help_panel="Webhooks")
app.add_typer(endpoints, name="endpoints", rich_help_panel="Webhooks")
app.add_typer(peers, name="peers", rich_help_panel="Services")
app.add_typer(subscriptions, name="subscriptions", rich_help_panel="Services")
app.command(rich_help_panel="Services")(register)
app.add_typer(sagas, name="sagas", rich_help_panel="Operate")
app.add_typer(pipelines, name="pipelines", rich_help_panel="Operate")

LineTarget = Annotated[
    str | None,
    typer.Argument(
        metavar="MODULE:OBJECT",
        help="A Trunkline. Without it the one that the settings describe.",
        show_default=False,
    ),
]
Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name, such as /orders.")]
ChannelOrPattern = Annotated[
    str, typer.Argument(metavar="CHANNEL", help="A name, or a pattern such as /orders/**.")
]
After = Annotated[
    int | None, typer.Option("--after", metavar="N", min=0, help="Begin after message id N.")
]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's way
    if wanted:
        typer.echo(f"trunkline {VERSION}")
        raise typer.Exit


@app.callback()
def trunkline(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_show_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """One durable line from what happened to everyone who must know.

    Publish once: the message is stored, in order, and reaches every listener without loss.
    """
    del version


def _line(log: str | None) -> Trunkline:
    from trunkline.app import Trunkline

    return Trunkline(log)


@app.command(rich_help_panel="Serve")
@ends_well
@with_flags
def serve(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE:OBJECT",
            help="An ASGI application or a Trunkline to serve. Without it the gateway is served, "
            "open to everybody, on loopback only.",
            show_default=False,
        ),
    ] = None,
    *,
    log: LogFlag = None,
    flags: ServeFlags,
) -> None:
    """Serve clients: polling, streaming, SSE and WebSocket."""
    from trunkline.cli.serving import serve as run

    run(target, log=log, flags=flags)


@app.command(rich_help_panel="Serve")
@ends_well
def demo(
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Another one is taken if it is not free."
        ),
    ] = 8000,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The log.", show_default="demo.db in your folder for caches"
        ),
    ] = None,
) -> None:
    """Serve a page to look at: a chat, and this machine's vitals as they are published."""
    from trunkline.cli.serving import serve_demo

    serve_demo(log, host=host, port=port)


@app.command(rich_help_panel="Serve")
@ends_well
def worker(
    target: LineTarget = None,
    *,
    log: LogFlag = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Run what this profile names.", show_default="everything"
        ),
    ] = None,
) -> None:
    """Relay what transactions publish, and run what else goes on behind a line."""
    from trunkline.cli.working import work

    run_to_end(work(target, log=log, profile=profile))


@app.command(rich_help_panel="Messages")
@ends_well
@with_flags
def publish(
    channel: Channel,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="JSON if it parses, else text; - for one message per line of standard input.",
        ),
    ],
    *,
    flags: LineFlags,
    options: PublishFlags,
    lines: InputFlags,
) -> None:
    """Publish a message, or each line of standard input; print the first and the last id."""
    from trunkline.cli import publishing

    if lines.errors not in {"strict", "replace"}:
        fail(f"--errors {lines.errors}: say strict or replace", status=2)
    line, given = _line(flags.log), options.options()
    if data != "-":
        run_to_end(publishing.publish_one(line, channel, data, given, as_json=flags.json))
        return
    form = publishing.LineFormat(lines.json_lines, lines.errors == "replace")
    run_to_end(publishing.publish_input(line, channel, given, form, as_json=flags.json))


@app.command(rich_help_panel="Messages")
@ends_well
@with_flags
def tail(
    channel: ChannelOrPattern,
    *,
    after: After = None,
    last: Annotated[
        int | None,
        typer.Option("--last", "-n", metavar="N", min=0, help="Begin with the last N messages."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="K", min=0, help="End after K messages."),
    ] = None,
    site_id: SiteFlag = None,
    flags: LineFlags,
) -> None:
    """Print messages as they come, from now on or from a message id."""
    from trunkline.channels.bus import SubscribeOptions
    from trunkline.cli import reading

    given = without_none({"after": after, "last": last, "site_id": site_id})
    options = SubscribeOptions(**given)  # type: ignore[typeddict-item]
    run_to_end(reading.tail(_line(flags.log), channel, options, count=count, as_json=flags.json))


@app.command(rich_help_panel="Messages")
@ends_well
@with_flags
def backlog(
    channel: Channel,
    *,
    after: After = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=0, help="Messages at most.")
    ] = None,
    site_id: SiteFlag = None,
    flags: LineFlags,
) -> None:
    """Print the messages of a channel that are still kept."""
    from trunkline.cli import reading

    if is_pattern(channel):
        fail(f"backlog reads one channel by name, and {channel!r} is a pattern: use tail", status=2)
    span = reading.Span(after or 0, limit, site_id)
    run_to_end(reading.backlog(_line(flags.log), channel, span, as_json=flags.json))


@app.command("last-id", rich_help_panel="Messages")
@ends_well
@with_flags
def last_id(channel: Channel, *, site_id: SiteFlag = None, flags: LineFlags) -> None:
    """Print the newest message id of a channel."""
    from trunkline.cli import reading

    if is_pattern(channel):
        fail(f"last-id is one channel's, by name, and {channel!r} is a pattern", status=2)
    work = reading.last_id(_line(flags.log), channel, site_id=site_id, as_json=flags.json)
    run_to_end(work)


@app.command(rich_help_panel="Operate")
@ends_well
@with_flags
def config(*, flags: LineFlags) -> None:
    """Print every setting, secrets masked, and where it came from."""
    from trunkline.cli.settings_table import print_settings
    from trunkline.config import Settings

    settings = Settings.load(without_none({"log": flags.log}))
    print_settings(settings, as_json=flags.json)


@app.command(rich_help_panel="Operate")
@ends_well
@with_flags
def migrate(
    target: LineTarget = None,
    *,
    log: LogFlag = None,
    flags: MigrateFlags,
) -> None:
    """Bring the tables of log, store and outboxes up to date; each line does so when it opens."""
    from trunkline.cli.migrating import migrate as run

    run_to_end(run(target, log=log, flags=flags))


@app.command(rich_help_panel="Operate")
@ends_well
@with_flags
def doctor(*, flags: LineFlags) -> None:
    """Look for what could lose messages or slow the line down, and say how to fix it."""
    from trunkline.cli.doctor import examine, print_findings
    from trunkline.config import Settings

    findings = examine(Settings.load(without_none({"log": flags.log})))
    print_findings(findings, as_json=flags.json)
    sys.stdout.flush()
    if any(one.level == "fail" for one in findings):
        raise typer.Exit(1)
