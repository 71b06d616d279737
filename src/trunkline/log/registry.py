"""Which class keeps a log of which URL: engines register by scheme, ours and everybody's alike.

A package registers its subclass of :class:`trunkline.log.port.Log` under the entry point group
``trunkline.engines``, with the URL scheme as the entry's name. An entry may name the extra that
its driver comes with (``redis = "trunkline.log.redis:RedisLog [redis]"``).
"""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from urllib.parse import urlsplit

from trunkline.errors import ConfigError, MissingExtraError
from trunkline.log.port import Log

GROUP = "trunkline.engines"


def known_schemes() -> list[str]:
    """Return the URL schemes that some installed package registers, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def engine_for(url: str) -> type[Log]:
    """Return the engine class for a log's URL.

    Args:
        url: For instance ``sqlite:///app.db``.

    Returns:
        The class that is registered for the scheme.

    Raises:
        ConfigError: No package registers the scheme, or what it registers is no engine.
        MissingExtraError: The engine's driver is not installed.
    """
    scheme = _scheme_of(url)
    found = list(entry_points(group=GROUP, name=scheme))
    if not found:
        raise ConfigError(_unknown(scheme))
    engine = _load(found[0])
    if not (isinstance(engine, type) and issubclass(engine, Log)):
        raise ConfigError(
            f"the entry point {scheme} = {found[0].value} is no engine: "
            "it must be a subclass of trunkline.log.port.Log"
        )
    return engine


def _scheme_of(url: str) -> str:
    if not isinstance(url, str):
        raise ConfigError(f"log is a URL like sqlite:///app.db, not {type(url).__name__}")
    scheme = urlsplit(url).scheme
    if not scheme or ":" not in url:
        raise ConfigError(f"log={url!r} is no URL: for a file say sqlite:///{url.lstrip('/')}")
    return scheme


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except ImportError as error:
        if entry.extras:
            raise MissingExtraError(f"the log scheme {entry.name!r}", entry.extras[0]) from error
        raise ConfigError(
            f"the engine for {entry.name}: ({entry.value}) cannot be imported: {error}"
        ) from error


def _unknown(scheme: str) -> str:
    known = known_schemes()
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"no engine is installed for the scheme {scheme!r}{hint}: known are {', '.join(known)}. "
        f"Correct the URL, or install a package that registers {scheme!r} under the entry point "
        f"group {GROUP!r}"
    )
