"""Secrets replaced by stars, for whatever is shown or logged."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

MASK: Final = "***"
_SECRET: Final = re.compile(r"pass(word|wd)?\b|secret|token|key|credential", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Tell whether a value under this name is likely a secret."""
    return _SECRET.search(name) is not None


def masked_url(url: str) -> str:
    """Return a URL without its password and without secrets in its query.

    Args:
        url: Any text; what is no URL comes back as it is.

    Returns:
        The URL to show.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    user, at, host = parts.netloc.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:{MASK}"
    query = "&".join(_masked_field(field) for field in parts.query.split("&"))
    masked = urlunsplit(parts._replace(netloc=f"{user}{at}{host}", query=query))
    # Nothing was hidden: the text as it stood, for urlunsplit drops slashes it finds needless.
    return url if (user + at + host, query) == (parts.netloc, parts.query) else masked


def _masked_field(field: str) -> str:
    name, equals, _ = field.partition("=")
    return f"{name}={MASK}" if equals and is_secret(name) else field
