"""The documents build into a site without a warning, and it needs nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.citations import ROOT
from tools.docstrings import plain
from tools.site import mended

#: Elements that make a browser fetch something when a page is read; links don't.
FETCHED = re.compile(
    r'<(?:script|img|iframe)[^>]*src="(https?:)?//|<link[^>]*rel="?(?:stylesheet|preconnect)[^>]*//'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder


def test_every_document_is_in_it(site):
    pages = [one.relative_to(ROOT / "docs") for one in (ROOT / "docs").rglob("*.md")]
    places = [one.parent if one.name == "README.md" else one.with_suffix("") for one in pages]
    assert [one for one in places if not (site / one / "index.html").is_file()] == []
    assert (site / "project/benchmarks/index.html").is_file()


def test_the_reference_shows_docstrings(site):
    page = (site / "reference/trunkline/index.html").read_text()
    assert "Publish once, durably" in page
    assert 'id="trunkline.app.Trunkline.publish"' in page


def test_nothing_is_fetched_from_elsewhere(site):
    assert [str(page) for page in site.rglob("*.html") if FETCHED.search(page.read_text())] == []


def test_links_out_of_the_documents_find_their_place_in_the_site():
    assert mended("[a](../bench/RESULTS.md#x)", "engines.md") == "[a](project/benchmarks.md#x)"
    assert mended("[a](../wire/poll.md)", "moving/toot.md") == "[a](../wire/poll.md)"
    assert mended("[a](docs/wire)", "overview.md") == "[a](wire/README.md)"
    assert mended("see [a](LICENSE)", "overview.md") == "see a"
    assert mended("```\n[a](LICENSE)\n```", "overview.md") == "```\n[a](LICENSE)\n```"


def test_roles_of_docstrings_are_shown_as_code():
    assert (
        plain("as :class:`trunkline.Message` has::\n\n    x")
        == "as `trunkline.Message` has:\n\n    x"
    )
