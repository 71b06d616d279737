"""What the settings TRUNKLINE say: the line's own settings, and those of this application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import connections
from django.utils.module_loading import import_string

DEFAULT_PATH: Final = "/events"
MODULE: Final = "listeners"


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what is set.

    Args:
        line: The line's settings, as in :class:`trunkline.config.Settings`.
        databases: Aliases of the databases whose transactions publish.
        identify: Called with Django's request; returns an identity or None. None for the session.
        access: Called with identity and channel; None where no clients are let in.
        entities: Kinds of entities by model, such as ``{"shop.Item": "items"}``.
        module: The module of each application that is imported at the start, for handlers.
    """

    line: dict[str, Any]
    databases: tuple[str, ...] = ("default",)
    identify: Callable[..., Any] | None = None
    access: Callable[..., Any] | None = None
    entities: Mapping[str, str] = {}
    module: str = MODULE


@cache
def configuration() -> Configuration:
    """Read the settings; names may be written in capitals.

    Raises:
        ImproperlyConfigured: A function that they name can't be imported.
    """
    given = {name.lower(): value for name, value in getattr(settings, "TRUNKLINE", {}).items()}
    own: dict[str, Any] = {
        name: given.pop(name) for name in Configuration.__struct_fields__ if name in given
    }
    for name in ("identify", "access"):
        own[name] = _function(name, own.get(name))
    own["databases"] = tuple(own.get("databases", ("default",)))
    given.setdefault("base_path", DEFAULT_PATH)
    if "log" not in given:
        given["log"] = _default_log(own["databases"][:1])
    return Configuration(**{**own, "line": given})


def _read_again(setting: str, **_: Any) -> None:
    if setting in {"TRUNKLINE", "DATABASES"}:
        configuration.cache_clear()


setting_changed.connect(_read_again)


def url_of(alias: str) -> str | None:
    """Return the URL of a database of Django's, or None of one in memory.

    Args:
        alias: Its name in DATABASES.

    Raises:
        ImproperlyConfigured: Messages can't be left there.
    """
    connection = connections[alias]
    parts = connection.settings_dict
    if connection.vendor == "sqlite":
        name = str(parts["NAME"])
        return None if "memory" in name and "/" not in name else f"sqlite:///{quote(name)}"
    if connection.vendor != "postgresql":
        raise ImproperlyConfigured(
            f"TRUNKLINE: transactions on {connection.vendor} carry no messages: leave {alias!r} "
            "out of its databases"
        )
    user = quote(parts.get("USER") or "", safe="")
    password = quote(parts.get("PASSWORD") or "", safe="")
    who = f"{user}{':' * bool(password)}{password}@" if user else ""
    host, port = str(parts.get("HOST") or ""), str(parts.get("PORT") or "")
    more = "?" + urlencode({"host": host}) if host.startswith("/") else ""
    where = ("" if more else host) + (f":{port}" if port else "")
    return f"postgresql://{who}{where}/{quote(str(parts['NAME']), safe='')}{more}"


def _default_log(aliases: tuple[str, ...]) -> str:
    """Return the database itself if it is PostgreSQL; a file of its own beside SQLite's."""
    url = url_of(aliases[0]) if aliases else None
    if url is None:
        return "memory://"
    if not url.startswith("sqlite"):
        return url
    return f"{url.rpartition('/')[0]}/trunkline.db"


def _function(name: str, given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return import_string(given)
    except ImportError as error:
        raise ImproperlyConfigured(f"TRUNKLINE: {name}={given!r}: {error}") from error
