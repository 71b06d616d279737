"""The line of a Django process: one, made when it is first used."""

from __future__ import annotations

import threading
from typing import Any, Unpack, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.functional import SimpleLazyObject

from trunkline.channels.drafting import PublishOptions
from trunkline.integrations.django.configuration import configuration, url_of
from trunkline.sync import Trunkline

_turn = threading.Lock()
_attached: dict[str, str] = {}


def _make() -> Trunkline:
    return Trunkline(**configuration().line)


#: The process's line. Declare handlers on it in a module ``listeners`` of your application.
line = cast(Trunkline, SimpleLazyObject(_make))


def publish(
    channel: str, data: Any, *, using: str = DEFAULT_DB_ALIAS, **options: Unpack[PublishOptions]
) -> None:
    """Publish through Django's connection: in ``atomic()`` if and only if that commits.

    Args:
        channel: The channel's name.
        data: Any JSON value.
        using: The database, one of the setting ``databases``.
        **options: See :class:`trunkline.channels.drafting.PublishOptions`.

    Raises:
        UsageError: The call can't be accepted as it is; nothing was stored.
        LogError: The line can't be opened.
    """
    prepared().publish(channel, data, tx=connections[using], **options)


def prepared() -> Trunkline:
    """Return the line with the outboxes of Django's databases; it is opened by its first use."""
    conf = configuration()
    for alias in conf.databases:
        name = str(connections[alias].settings_dict["NAME"])
        if _attached.get(alias) != name:  # tests change it
            with _turn:
                _attach(alias, conf.line["log"])
                _attached[alias] = name
    return line


def _attach(alias: str, log: str) -> None:
    url = url_of(alias)
    if url is not None and url != log:
        line.attach_outbox(url)


def opened() -> Trunkline:
    """Return the line, open, so that no transaction has to wait for that."""
    found = prepared()
    if not found.asynchronous.is_open:
        found.open()
    return found
