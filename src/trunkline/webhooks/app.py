"""What an app is: an external program that accounts install, and where it is reached."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from trunkline.errors import ConfigError
from trunkline.model import codec
from trunkline.sql.database import Row
from trunkline.webhooks.errors import SignalError
from trunkline.webhooks.signal import NAME, WILDCARD

#: Signals that an app may ask for.
MOST: Final = 1000
_INDICATOR: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")


class App(msgspec.Struct, frozen=True, kw_only=True):
    """Be an app. It never holds a secret: ask for those by name.

    Args:
        id: Names it.
        name: For people.
        description: For people.
        indicator: A short name of its own, or None.
        entry_url: Where an account's user enters it, or None.
        signal_url: Where its signals go, or None.
        signals: What it asks for; ``*`` for all.
        account_types: Accounts that may install it; none for all.
        configuration: Whatever the host keeps with it.
        options: How it is delivered to: ``format`` (``standard``, ``cloudevents``, ``demux``,
            ``both``), the retry schedule, and so on: see
            :class:`trunkline.webhooks.delivery_options.EndpointOptions`.
        endpoint_id: Names where its signals go, or None.
        endpoint_state: ``enabled``, ``disabled``, or None.
        created_at: Unix seconds.
        updated_at: Unix seconds.
    """

    id: str
    name: str
    description: str = ""
    indicator: str | None = None
    entry_url: str | None = None
    signal_url: str | None = None
    signals: tuple[str, ...] = ()
    account_types: tuple[str, ...] = ()
    configuration: dict[str, Any] = {}
    options: dict[str, Any] = {}
    endpoint_id: str | None = None
    endpoint_state: str | None = None
    created_at: float = 0.0
    updated_at: float = 0.0

    def takes(self, account_type: str) -> bool:
        """Tell whether accounts of a kind may install it."""
        return not self.account_types or account_type in self.account_types


def app_of(row: Row) -> App:
    """Return the app of a row."""
    return App(
        id=row[0],
        name=row[1],
        description=row[2],
        indicator=row[3],
        entry_url=row[4],
        signal_url=row[5],
        signals=tuple(codec.decode(row[6])),
        account_types=tuple(codec.decode(row[7])),
        configuration=codec.decode(row[8]),
        options=codec.decode(row[9]),
        endpoint_id=row[10],
        endpoint_state=row[11],
        created_at=row[12],
        updated_at=row[13],
    )


def check_app(app: App) -> App:
    """Return an app whose fields make sense.

    Raises:
        SignalError: One doesn't; the message says which.
    """
    if not isinstance(app.name, str) or not app.name.strip() or "\0" in app.name:
        raise SignalError("an app needs a name")
    if app.indicator is not None and not _INDICATOR.match(app.indicator):
        raise SignalError(f"indicator {app.indicator!r}: letters, digits, '_', '.', '-'")
    check_url("entry_url", app.entry_url)
    check_url("signal_url", app.signal_url)
    for one in app.account_types:
        if not isinstance(one, str) or not NAME.match(one):
            raise SignalError(f"account type {one!r} must be a name")
    check_options(app.options)
    return app


def check_options(options: Mapping[str, Any]) -> None:
    """Check how an app is delivered to.

    Raises:
        SignalError: An option makes no sense.
    """
    from trunkline.webhooks.delivery_options import EndpointOptions

    try:
        msgspec.convert(options, EndpointOptions)
    except (msgspec.ValidationError, ConfigError) as error:
        raise SignalError(f"options: {error}") from error


def checked_signals(signals: Iterable[str]) -> tuple[str, ...]:
    """Return names of signals, each once, in order.

    Raises:
        SignalError: One is no name.
    """
    if isinstance(signals, str):
        raise SignalError(f"signals={signals!r}: give a list of names")
    found = tuple(dict.fromkeys(signals))
    for one in found:
        if not isinstance(one, str) or not (one == WILDCARD or NAME.match(one)):
            raise SignalError(f"{one!r} is no signal's name")
    if len(found) > MOST:
        raise SignalError(f"an app asks for at most {MOST} signals; '*' asks for all")
    return found


def check_url(name: str, url: str | None) -> None:
    """Check a URL's form; whether it may be reached is the egress guard's business.

    Raises:
        SignalError: It is no absolute http(s) URL, or it carries credentials or a fragment.
    """
    if url is None:
        return
    try:
        parts = urlsplit(url)
        _ = parts.port
    except (ValueError, AttributeError, TypeError):
        raise SignalError(f"{name} is no URL") from None
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or len(url) > 2048:
        raise SignalError(f"{name} must be a URL such as https://app.example.com/hook")
    if _CONTROL.search(url) or parts.fragment:
        raise SignalError(f"{name} must have no spaces, control characters or fragment")
    if "@" in parts.netloc:
        raise SignalError(f"{name} must not carry credentials: they would end up in logs")


def json_text(value: Mapping[str, Any] | Iterable[str]) -> str:
    """Return a mapping or a list as the tables keep it.

    Raises:
        UnencodableDataError: It is no strict JSON.
    """
    plain = dict(value) if isinstance(value, Mapping) else list(value)
    return codec.encode(plain).decode()
