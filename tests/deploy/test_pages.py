"""Every deployment page says which test holds it, or that none does."""

from __future__ import annotations

import pytest

from tests.citations import ROOT, cited, missing

PAGES = sorted(path for path in (ROOT / "docs/deploy").glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_says_what_tests_it(path) -> None:
    text = path.read_text()
    first = text.split("\n\n")[1]
    assert first.startswith(("Tested by", "Untested"))
    assert first.startswith("Untested") or cited(first)
    assert missing(text) == []


def test_every_page_is_named_in_the_overview() -> None:
    overview = (ROOT / "docs/deploy/README.md").read_text()
    assert [path.name for path in PAGES if f"({path.name})" not in overview] == []
