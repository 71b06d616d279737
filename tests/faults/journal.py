"""What a publisher or listener writes down, a line at a time, so that a kill takes none of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Append lines to a file, each with one write: the page cache outlives the process.

    Args:
        path: The file; a line that a kill cut off is removed from its end.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        kept = Path(path).read_bytes()
        os.ftruncate(self._file, kept.rfind(b"\n") + 1)

    def write(self, *words: Any) -> None:
        """Write one line, and return when the system has it."""
        line = json.dumps(words, separators=(",", ":")).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError("half a line in the journal")


def read_journal(path: str | Path) -> Iterator[list[Any]]:
    """Yield the whole lines of a journal, none if there is no file."""
    if not Path(path).exists():
        return
    with Path(path).open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
