"""The URL of a SQLite line: where its file is, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from trunkline.errors import ConfigError


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Say where a line is and how to handle its file.

    Args:
        path: The database file.
        busy_timeout: Seconds to wait for other programs' locks, more than 0.
        readers: Reads that may run at once, 1 to 64.
    """

    path: Path
    busy_timeout: float = 5.0
    readers: int = 4


_OPTIONS = tuple(name for name in Location.__struct_fields__ if name != "path")


def parse_location(url: str, options: Mapping[str, Any]) -> Location:
    """Parse ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with options in the query.

    Args:
        url: The URL.
        options: More options, which win over the query's.

    Returns:
        Where the line is.

    Raises:
        ConfigError: The URL names no file, or an option is unknown or out of range.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if path in {":memory:", ""} and not parts.netloc:
        raise ConfigError(f"{url!r} names no file: write sqlite:///line.db, or memory:// for none")
    if parts.scheme != "sqlite" or parts.netloc or not parts.path.startswith("/"):
        raise ConfigError(
            f"{url!r} is no SQLite line: write sqlite:///relative.db or sqlite:////absolute.db"
        )
    given = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **options}
    for name in given:
        if name not in _OPTIONS:
            raise ConfigError(
                f"a SQLite line has no option {name!r}: there are {', '.join(_OPTIONS)}"
            )
    try:
        found = msgspec.convert({**given, "path": path}, Location, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"an option of {url!r} is wrong: {error}") from error
    if not (0 < found.busy_timeout < 1e6 and 1 <= found.readers <= 64):
        raise ConfigError(
            f"busy_timeout={found.busy_timeout} must be more than 0 seconds, and "
            f"readers={found.readers} from 1 to 64"
        )
    return found


def _path(_: type, value: Any) -> Path:
    return Path(value)
