"""Groups of flags as values: a command takes a few dataclasses, its users many flags."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from trunkline.channels.drafting import PublishOptions
from trunkline.cli.outcome import without_none

LogFlag = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="URL",
        help="The log, such as sqlite:///app.db.",
        show_default="TRUNKLINE_LOG, a settings file, else sqlite:///trunkline.db",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]
SiteFlag = Annotated[str | None, typer.Option("--site-id", metavar="SITE", help="The tenant.")]


@dataclass(frozen=True, kw_only=True)
class LineFlags:
    """Say which line, and how to print what it answers."""

    log: LogFlag = None
    json: JsonFlag = False


@dataclass(frozen=True, kw_only=True)
class PublishFlags:
    """Be the options of a publish."""

    user_id: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Only for this user; may be repeated. Digits are a number, '\"7\"' is text.",
        ),
    ] = None
    group_id: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only for this group, likewise."),
    ] = None
    client_id: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only for this client; may be repeated.")
    ] = None
    site_id: SiteFlag = None
    max_backlog_size: Annotated[
        int | None, typer.Option(metavar="N", help="Keep this many messages of the channel.")
    ] = None
    max_backlog_age: Annotated[
        str | None, typer.Option(metavar="AGE", help="Keep them this long: 3600, 15m, 7d.")
    ] = None
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Idempotency key: repeated with the same key, a publish stores nothing new. "
            "For lines of standard input it becomes KEY:1, KEY:2, …",
        ),
    ] = None

    def options(self) -> PublishOptions:
        """Return them as :meth:`trunkline.Trunkline.publish` takes them."""
        from trunkline.runtime.quantity import duration

        age = self.max_backlog_age
        given: Any = without_none(
            {
                "user_ids": [_id(one) for one in self.user_id or ()],
                "group_ids": [_id(one) for one in self.group_id or ()],
                "client_ids": self.client_id,
                "site_id": self.site_id,
                "max_backlog_size": self.max_backlog_size,
                "max_backlog_age": None if age is None else duration("--max-backlog-age", age),
                "key": self.key,
            }
        )
        options: PublishOptions = given
        return options


@dataclass(frozen=True, kw_only=True)
class InputFlags:
    """Say how lines of standard input become data."""

    json_lines: Annotated[
        bool, typer.Option("--json-lines", metavar="", help="With -: each line is JSON, not text.")
    ] = False
    errors: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="With -: what to do with bytes that are no UTF-8: stop with the line's number "
            "(strict), or publish a replacement character (replace).",
        ),
    ] = "strict"


@dataclass(frozen=True, kw_only=True)
class ServeFlags:
    """Say where to serve, and how."""

    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Where to listen.", show_default="127.0.0.1"),
    ] = None
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="0 for a free one.", show_default="8000"
        ),
    ] = None
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes.", show_default="1")
    ] = None
    worker: Annotated[
        bool,
        typer.Option(
            "--worker", metavar="", help="Also do a worker's work in each serving process."
        ),
    ] = False
    open: Annotated[
        bool,
        typer.Option(
            "--open", metavar="", help="Let everybody read every channel, also on a public address."
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class MigrateFlags:
    """Say what to do about the tables."""

    check: Annotated[
        bool,
        typer.Option(
            "--check", metavar="", help="Change nothing; exit with 1 when something is missing."
        ),
    ] = False
    sql: Annotated[
        bool,
        typer.Option("--sql", metavar="", help="Print the statements for a new database instead."),
    ] = False


def _id(text: str) -> str | int:
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    quoted = len(text) >= 2 and text[0] == text[-1] == '"'
    return text[1:-1] if quoted else text


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Spread a command's dataclass parameters out into one option for each field.

    Args:
        command: Some of its parameters are annotated with dataclasses.

    Returns:
        A function with a flat signature, which Typer reads.
    """
    hints = get_type_hints(command, include_extras=True)
    grouped: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    plain = [
        one.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, one in inspect.signature(command).parameters.items()
        if name not in grouped
    ]
    spread = [one for kind in grouped.values() for one in _parameters(kind)]

    def run(**given: Any) -> None:
        values = {
            name: kind(**{one.name: given.pop(one.name) for one in fields(kind)})
            for name, kind in grouped.items()
        }
        command(**given, **values)

    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature([*plain, *spread])  # type: ignore[attr-defined]
    return run


def _parameters(kind: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        default = inspect.Parameter.empty if one.default is MISSING else one.default
        yield inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=hints[one.name],
        )
