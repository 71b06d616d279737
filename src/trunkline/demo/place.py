"""Where the demo's line is kept: a folder of the user's own that survives restarts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote


def demo_log(environ: Mapping[str, str] | None = None) -> str:
    """Return the URL of the demo's log, its folder made.

    Args:
        environ: The environment; the process's own by default.
    """
    for folder in _folders(os.environ if environ is None else environ):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return f"sqlite:///{quote(str(folder / 'demo.db'))}"
    folder = Path(tempfile.mkdtemp(prefix="trunkline-demo-"))
    return f"sqlite:///{quote(str(folder / 'demo.db'))}"


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    # The XDG base directory specification.
    if environ.get("XDG_CACHE_HOME", "").startswith("/"):
        yield Path(environ["XDG_CACHE_HOME"]) / "trunkline"
    if environ.get("HOME", "").startswith("/"):
        yield Path(environ["HOME"]) / ".cache" / "trunkline"
