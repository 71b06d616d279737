"""Channel keys as NATS subjects: what may not stand in a token is written as ``%XX``.

A channel ``/orders/7`` of the site ``acme`` lies under ``….acme.orders.7``. ``%`` by itself stands
for an empty token, and in the place of the site for none. So a NATS wildcard selects channels
as a pattern does: ``*`` is one segment, ``>`` the rest.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from trunkline.errors import GrammarError
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import ANY_SITE, PatternInterest

NONE: Final = "%"
#: Marks a name that does not start with a slash, which only older peers could have stored.
_BARE: Final = "%-"
#: The server takes 4096 bytes of control line, which has a reply subject and numbers too.
MAX_SUBJECT: Final = 3500
_OUTSIDE: Final = re.compile(rb"[^A-Za-z0-9_-]")


def token(text: str) -> str:
    """Return *text* as one token of a subject."""
    if text.isascii() and text.replace("_", "a").replace("-", "a").isalnum():
        return text
    return _OUTSIDE.sub(lambda found: b"%%%02X" % found[0][0], text.encode()).decode() or NONE


def tail(key: ChannelKey) -> str:
    """Return the tokens of a channel, to be put after a prefix.

    Args:
        key: Name and site.

    Raises:
        GrammarError: Encoded, the name and the site are too long for the server.
    """
    site = NONE if key.site_id is None else token(key.site_id)
    first, *rest = key.name.split("/")
    segments = [site, *((_BARE, token(first)) if first else ()), *map(token, rest)]
    found = ".".join(segments)
    if len(found) > MAX_SUBJECT:
        raise GrammarError(
            f"{key} is too long for NATS: encoded it has {len(found)} bytes and "
            f"{MAX_SUBJECT} are allowed; use a shorter site_id"
        )
    return found


@lru_cache(maxsize=65536)
def key_of(found: str) -> ChannelKey:
    """Return the channel whose tokens :func:`tail` gave."""
    site, *segments = found.split(".")
    names = ["" if one == NONE else unquote(one) for one in segments]
    is_bare = segments[:1] == [_BARE]
    name = "/".join(names[1:]) if is_bare else "/" + "/".join(names)
    return ChannelKey(name, None if site == NONE else unquote(site))


def pattern_tail(wanted: PatternInterest) -> str | None:
    """Return one wildcard that covers all that a pattern wants, or None when none does.

    The wildcard may cover more, so whoever uses it sifts.
    """
    if wanted.site_id is None:
        site = NONE
    elif wanted.site_id == ANY_SITE:
        site = "*"
    else:
        return None  # the site's own and the global ones lie apart
    segments: list[str] = []
    for segment in wanted.text.split("/")[1:]:
        if segment == "**":
            segments.append(">")
        elif segment[:1] in {"*", ":"}:
            segments.append("*")
        else:
            segments.append(token(segment))
    return ".".join([site, *segments])
