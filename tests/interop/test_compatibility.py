"""docs/compatibility.md names a test for every promise, and each of these tests exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/compatibility.md").read_text()
#: The suites on the bus, its backends, the client, connections, middleware, timers, processes and
#: the HTTP client; 87 and 88 are about the distributed cache and the client's own file.
PROMISES = {*range(1, 87), *range(89, 97)}


@cache
def functions(path: Path) -> frozenset[str]:
    """Return the names of all functions in a file, methods included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        one.name for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, kinds)
    )


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`([\w/.]+\.py)::(\w+)`", PAGE)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or name not in functions(ROOT / path)
    ]
    assert len(named) > 100
    assert missing == []


def test_every_promise_has_its_line() -> None:
    told: set[int] = set()
    for first, last in re.findall(r"^\| (\d+)(?:–(\d+))? \|.*::test_", PAGE, re.MULTILINE):
        told.update(range(int(first), int(last or first) + 1))
    assert told == PROMISES


def test_what_backends_promise_is_held_on_the_engines_with_servers() -> None:
    """Items 21 to 39 each name a test that runs on Redis, PostgreSQL and NATS."""
    rows = re.findall(r"^\| (\d+) \|.*`tests/interop/test_backends.py::test_", PAGE, re.MULTILINE)
    assert {int(number) for number in rows} == set(range(21, 40))
