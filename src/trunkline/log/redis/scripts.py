"""The Lua scripts of a layout, each in a file of its own, sent by their digest."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

import msgspec


class Script(msgspec.Struct, frozen=True):
    """Be one script, ready to be called.

    Args:
        name: The file's name without its suffix.
        text: Lua, with the parts that it stands on in front.
        digest: SHA-1 of the text, by which Redis knows it.
    """

    name: str
    text: str
    digest: str


@cache
def load_script(layout: str, name: str, *preludes: str) -> Script:
    """Read a script and the preludes that it needs.

    Args:
        layout: The folder.
        name: The file's name without its suffix.
        preludes: Names of files that stand before it, in order.
    """
    folder = files("trunkline.log.redis").joinpath(layout)
    parts = [folder.joinpath(f"{one}.lua").read_text("utf-8") for one in (*preludes, name)]
    text = "\n".join(parts)
    # Redis names scripts by SHA-1; nothing secret rests on it.
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name, text, digest)
