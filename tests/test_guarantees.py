"""docs/guarantees.md names the tests that hold each guarantee, and each of them exists."""

from __future__ import annotations

import re

from tests.citations import ROOT, cited, missing

PAGE = (ROOT / "docs/guarantees.md").read_text()
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]


def test_there_are_nine_and_each_is_held_by_tests():
    assert [section.partition(".")[0] for section in SECTIONS] == [str(n) for n in range(1, 10)]
    assert [section[:20] for section in SECTIONS if len(cited(section)) < 3] == []


def test_every_test_that_is_named_exists():
    assert missing(PAGE) == []


def test_every_item_names_a_test_and_nothing_else():
    items = re.findall(r"^\* .*$", PAGE, re.MULTILINE)
    assert [one for one in items if len(cited(one)) != 1] == []
