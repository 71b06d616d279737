"""Channel names: the grammar, the kinds, and the key (name, site) that a log stores by."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from trunkline.errors import GrammarError

MAX_NAME_BYTES = 255
GLOBAL_PREFIX = "/global/"
RESERVED_PREFIX = "/__"
STREAM_PREFIX = "/stream/"
INTERNAL_PREFIX = "/__trunkline/"
SITE_SEPARATOR = "$|$"

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f*:]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Kind(StrEnum):
    """Say how long a channel's messages live: ``plain`` for a while, ``stream`` for ever."""

    PLAIN = "plain"
    STREAM = "stream"


class ChannelKey(NamedTuple):
    """Identify a channel: its name, and the tenant it belongs to (None for no tenant)."""

    name: str
    site_id: str | None = None

    @property
    def is_global(self) -> bool:
        """Tell whether the channel reaches every site."""
        return self.name.startswith(GLOBAL_PREFIX)

    @property
    def is_internal(self) -> bool:
        """Tell whether the channel is Trunkline's own and hidden from everybody else."""
        return self.name.startswith(INTERNAL_PREFIX)

    def __str__(self) -> str:
        return self.name if self.site_id is None else f"{self.name} (site {self.site_id})"


def channel_key(name: str, site_id: str | None = None) -> ChannelKey:
    """Return the key for a name on a site; a /global/ channel belongs to no site.

    Args:
        name: A channel name, already checked.
        site_id: The tenant, or None.

    Returns:
        The key that logs store by.
    """
    return ChannelKey(name, None if name.startswith(GLOBAL_PREFIX) else site_id)


def writable_key(name: str, site_id: str | None, *, internal: bool = False) -> ChannelKey:
    """Check a name and a site for publishing, and return the key.

    Args:
        name: The channel's name.
        site_id: The tenant, or None.
        internal: Whether the caller is Trunkline itself.

    Returns:
        The key that logs store by; equal calls share it.

    Raises:
        GrammarError: The name or the site is outside the grammar.
    """
    try:
        return _writable_key(name, site_id, internal)
    except TypeError:  # it cannot be hashed, so it is no text
        raise GrammarError(
            f"a channel and a site are text, not {type(name).__name__} and {type(site_id).__name__}"
        ) from None


# Applications publish to the same channels again and again: checking costs more than encoding.
@lru_cache(maxsize=16_384)
def _writable_key(name: str, site_id: str | None, internal: bool) -> ChannelKey:  # noqa: FBT001
    return channel_key(check_name(name, internal=internal), check_site(site_id))


def check_name(name: str, *, internal: bool = False) -> str:
    """Check a name for publishing and return it.

    Args:
        name: The channel's name.
        internal: Whether the caller is Trunkline itself, which may use ``/__trunkline/``.

    Returns:
        The same name.

    Raises:
        GrammarError: The name is outside the grammar; the message says which rule it breaks.
    """
    check_readable(name)
    if not name.startswith("/"):
        raise GrammarError(f"channel {name!r} must start with '/': try {'/' + name!r}")
    if name == "/":
        raise GrammarError("channel '/' has no name after the slash")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise GrammarError(f"channel {name[:40]!r}… is longer than {MAX_NAME_BYTES} bytes")
    if bad := _FORBIDDEN.search(name):
        raise GrammarError(
            f"channel {name!r} contains {bad.group()!r}, which patterns use: name one channel"
        )
    if SITE_SEPARATOR in name:
        raise GrammarError(f"channel {name!r} contains {SITE_SEPARATOR!r}, which separates sites")
    if name.startswith(RESERVED_PREFIX) and not (internal and name.startswith(INTERNAL_PREFIX)):
        raise GrammarError(
            f"channel {name!r} is reserved: names under {RESERVED_PREFIX!r} are ours"
        )
    return name


def check_readable(name: str) -> str:
    """Check a name for reading, which tolerates what older peers stored, and return it.

    Args:
        name: The channel's name.

    Returns:
        The same name.

    Raises:
        GrammarError: The name is empty, far too long, not UTF-8, or has control characters.
    """
    if not isinstance(name, str):
        raise GrammarError(f"a channel name is text, not {type(name).__name__}")
    if not name:
        raise GrammarError("a channel name must not be empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise GrammarError(f"channel {name!r} is not valid UTF-8") from None
    if size > MAX_NAME_BYTES + 128:
        raise GrammarError(f"channel {name[:40]!r}… is longer than {MAX_NAME_BYTES} bytes")
    if _CONTROL.search(name):
        raise GrammarError(f"channel {name!r} contains a control character")
    return name


def check_site(site_id: str | None) -> str | None:
    """Check a site id and return it.

    Args:
        site_id: The tenant, or None.

    Returns:
        The same site id.

    Raises:
        GrammarError: It is empty, too long, or has control characters or the separator.
    """
    if site_id is None:
        return None
    if not isinstance(site_id, str):
        raise GrammarError(f"a site_id is text, not {type(site_id).__name__}")
    if not site_id or len(site_id) > MAX_NAME_BYTES or SITE_SEPARATOR in site_id:
        raise GrammarError(f"site_id {site_id[:40]!r} must have 1 to {MAX_NAME_BYTES} characters")
    try:
        site_id.encode()
    except UnicodeEncodeError:
        raise GrammarError(f"site_id {site_id!r} is not valid UTF-8") from None
    if _CONTROL.search(site_id):
        raise GrammarError(f"site_id {site_id!r} contains a control character")
    return site_id


def is_stream_name(name: str) -> bool:
    """Tell whether a name is reserved for streams: ``/stream/<type>/<id>``."""
    return name.startswith(STREAM_PREFIX)
