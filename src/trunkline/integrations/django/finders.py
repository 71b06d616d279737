"""The browser client as static files: add ``…finders.ClientFinder`` to STATICFILES_FINDERS.

``{% static "trunkline/trunkline.js" %}`` is then found, and collected by ``collectstatic``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from django.contrib.staticfiles.finders import BaseFinder
from django.contrib.staticfiles.utils import matches_patterns
from django.core.checks import CheckMessage
from django.core.files.storage import FileSystemStorage

from trunkline.gateway.script import find_scripts

PREFIX: Final = "trunkline"
PATTERNS: Final = ("trunkline*.js", "trunkline/**/*.js", "dist/**/*.js")


class ClientFinder(BaseFinder):  # type: ignore[misc]  # Django has no types
    """Find the browser client that belongs to this release."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._folder = find_scripts()

    def check(self, **_: Any) -> list[CheckMessage]:
        """Find nothing wrong."""
        return []

    def find(self, path: str, *flags: Any, **options: Any) -> Any:
        """Return where a file is; a list of one, or an empty one, if all are asked for."""
        wants_all = any((*flags, *options.values()))
        inner = path.removeprefix(f"{PREFIX}/")
        found = None
        if self._folder is not None and inner != path and inner in self._names():
            found = str(self._folder / inner)
        if wants_all:
            return [found] if found else []
        return found or []

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, Any]]:
        """Yield each file with the storage that reads it."""
        if self._folder is None:
            return
        storage: Any = FileSystemStorage(location=self._folder)
        storage.prefix = PREFIX
        for name in sorted(self._names()):
            if not matches_patterns(name, list(ignore_patterns or ())):
                yield name, storage

    def _names(self) -> set[str]:
        folder = self._folder or Path()
        return {
            one.relative_to(folder).as_posix() for each in PATTERNS for one in folder.glob(each)
        }
