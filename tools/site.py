"""Bring documents that live elsewhere in the tree into the site, and mend links between them.

The documents are written to be read in the tree: ``../bench/RESULTS.md`` is a link that works
there. In the site such a page has a place of its own. MkDocs calls what is named ``on_…``.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
#: Documents outside docs/, and where the site has them.
OUTSIDE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "bench/RESULTS.md": "project/benchmarks.md",
    "clients/js/README.md": "browser.md",
}
#: The order of the pages; a page that is named nowhere comes at the end of the guides.
GUIDES = "Guides"
ORDER: dict[str, list[str]] = {
    "Start": ["README.md", "overview.md", "tutorial.md", "tutorial-user.md", "guarantees.md"],
    GUIDES: [
        "transactions.md",
        "consumers.md",
        "commands.md",
        "sagas.md",
        "entities.md",
        "webhooks.md",
        "delivery.md",
        "services.md",
        "frameworks.md",
        "clients.md",
        "browser.md",
        "settings.md",
        "command-line.md",
    ],
    "How to": ["howto/"],
    "Engines": ["engines.md", "redis.md", "faults.md"],
    "Deploy": ["deploy/"],
    "Moving here": ["moving/", "compatibility.md"],
    "Protocols": ["wire/"],
    "Reference": ["reference/trunkline.md", "reference/"],
    "Project": ["project/", "decisions/"],
}
_INSIDE = {place: path for path, place in OUTSIDE.items()}
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\n]+)\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> None:
    """Order the pages: those that are new need no entry anywhere."""
    docs = Path(config.docs_dir)
    left = sorted(str(path.relative_to(docs)) for path in docs.rglob("*.md"))
    left += sorted(OUTSIDE.values())
    sections: dict[str, list[str]] = {}
    for title, wanted in ORDER.items():
        sections[title] = []
        for name in wanted:
            found = [
                one for one in left if one == name or (name[-1] == "/" and one.startswith(name))
            ]
            found.sort(key=lambda one: (not one.endswith("README.md"), one))
            sections[title] += found
            left = [one for one in left if one not in found]
    sections[GUIDES] += left
    config.nav = [{title: list(pages)} for title, pages in sections.items() if pages]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that are outside docs/."""
    for path, place in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **kwargs: Any) -> str:
    """Point a page's links to where the site has what they mean."""
    del config, kwargs
    return mended(markdown, page.file.src_uri)


def mended(markdown: str, place: str) -> str:
    """Return a document with its links mended.

    Args:
        markdown: The document.
        place: Where the site has it.
    """
    fenced = [found.span() for found in _FENCED.finditer(markdown)]

    def mend(found: re.Match[str]) -> str:
        if any(first <= found.start() < last for first, last in fenced):
            return found[0]
        return _mended_link(found, place)

    return _LINK.sub(mend, markdown)


def _mended_link(found: re.Match[str], place: str) -> str:
    source = _INSIDE.get(place, f"docs/{place}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found["path"]))
    if (ROOT / target).is_dir():
        index = posixpath.join(target, "README.md")
        if not (ROOT / index).is_file():
            return found["text"]
        target = index
    if target in OUTSIDE:
        goal = OUTSIDE[target]
    elif target.startswith("docs/"):
        goal = target.removeprefix("docs/")
    elif (ROOT / target).exists():
        return found["text"]  # a source file: the site has no page for it
    else:
        return found[0]  # a link to nothing: let the build fail
    relative = os.path.relpath(goal, posixpath.dirname(place) or ".")
    return f"[{found['text']}]({relative}{found['anchor'] or ''})"
