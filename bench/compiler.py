"""Building the clients in C, with the system's C compiler or the one that comes as a wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"


def load_client() -> Path:
    """Return the load client's program."""
    return built("load", HERE / "client")


def redis_client() -> Path:
    """Return the program that publishes to Redis one by one."""
    return built("single", HERE / "redis_client")


def built(name: str, folder: Path) -> Path:
    """Return a program, built anew if a source is younger.

    Args:
        name: The program's.
        folder: Where its sources are.
    """
    program = BUILD / name
    sources = sorted(folder.glob("*.[ch]"))
    newest = max(source.stat().st_mtime for source in sources)
    if program.exists() and program.stat().st_mtime > newest:
        return program
    BUILD.mkdir(parents=True, exist_ok=True)
    files = [str(source) for source in sources if source.suffix == ".c"]
    subprocess.run([*compiler(), "-O2", "-o", str(program), *files], check=True)
    return program


def compiler() -> list[str]:
    """Return the words that call a C compiler."""
    found = shutil.which("cc")
    return [found] if found else [sys.executable, "-m", "ziglang", "cc"]
