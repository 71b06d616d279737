"""docs/guarantees.md names the tests that hold each guarantee, and each of them exists."""

from __future__ import annotations

import re

from tests.citations import ROOT, cited, missing

PAGE = (ROOT / "docs/guarantees.md").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]


def test_there_are_nine_and_each_is_held_by_tests():
    assert [section.partition(".")[0] for section in SECTIONS] == [str(n) for n in range(1, 10)]
    assert [section[:20] for section in SECTIONS if len(cited(section)) < 3] == []


def test_every_test_that_is_named_exists():
    assert missing(PAGE) == []


def test_every_item_names_a_test():
    items = re.findall(r"^\* .*$", PAGE, re.MULTILINE)
    assert [one for one in items if not cited(one)] == []


def test_every_engine_that_is_built_in_is_held_to_the_contract():
    engines = re.findall(r"^\w+ = \"trunkline\.log\.(\w+):", PYPROJECT, re.MULTILINE)
    held = " ".join(path for path, _ in cited(SECTIONS[8]))
    assert [one for one in engines if f"tests/log/test_{one}.py" not in held] == []
    assert len(set(engines)) == 5
