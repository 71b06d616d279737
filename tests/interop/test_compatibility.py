"""docs/compatibility.md names a test for every promise, and each of these tests exists."""

from __future__ import annotations

import re

from tests.citations import ROOT, cited, missing

PAGE = (ROOT / "docs/compatibility.md").read_text()
#: The suites on the bus, its backends, clients of every kind, the middleware, timers, the cache.
PROMISES = set(range(1, 112))


def test_every_test_that_is_named_exists() -> None:
    assert len(cited(PAGE)) > 100
    assert missing(PAGE) == []


def test_every_promise_has_its_line() -> None:
    told: set[int] = set()
    for first, last in re.findall(r"^\| (\d+)(?:–(\d+))? \|.*::test_", PAGE, re.MULTILINE):
        told.update(range(int(first), int(last or first) + 1))
    assert told == PROMISES


def test_what_backends_promise_is_held_on_the_engines_with_servers() -> None:
    """Items 21 to 39 each name a test that runs on Redis, PostgreSQL and NATS."""
    rows = re.findall(r"^\| (\d+) \|.*`tests/interop/test_backends.py::test_", PAGE, re.MULTILINE)
    assert {int(number) for number in rows} == set(range(21, 40))
