"""Let docstrings that speak reStructuredText's roles read well in the Markdown of the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|exc|data):`~?([^`]+)`")
_LITERAL = re.compile(r"::(?=\n\n?[ ]{4})")
_ARGS = re.compile(r"^Args:$", re.MULTILINE)


def plain(text: str) -> str:
    """Return a docstring with roles as code, and a literal block's two colons as one."""
    return _LITERAL.sub(":", _ROLE.sub(r"`\1`", text)).replace("``", "`")


class PlainRoles(griffe.Extension):
    """Rewrite the docstring of every object that the reference shows."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one object's, when it was loaded."""
        del kwargs
        if obj.docstring is None:
            return
        text = plain(obj.docstring.value)
        if obj.is_class and "__init__" not in obj.members:
            text = _ARGS.sub("Attributes:", text)  # the fields of a struct are its arguments
        obj.docstring.value = text
