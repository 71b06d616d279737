"""Tests that documents name, as ``path::function``, and which of them don't exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PYTHON = re.compile(r"`([\w/.]+\.py)::(\w+)`")
_JAVASCRIPT = re.compile(r"`([\w/.]+\.test\.mjs)::([^`]+)`")


@cache
def functions(path: Path) -> frozenset[str]:
    """Return the names of all functions in a file, methods and classes included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(
        one.name for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, kinds)
    )


def cited(page: str) -> list[tuple[str, str]]:
    """Return the tests that a document names."""
    return [*_PYTHON.findall(page), *_JAVASCRIPT.findall(page)]


def missing(page: str) -> list[str]:
    """Return the tests that a document names and nobody has."""
    return [f"{path}::{name}" for path, name in cited(page) if not _exists(ROOT / path, name)]


def _exists(path: Path, name: str) -> bool:
    if not path.is_file():
        return False
    if path.suffix == ".py":
        return name in functions(path)
    return f'test("{name}"' in path.read_text()
