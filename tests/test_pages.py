"""What pages tell readers to type exists: commands of ours, targets of make, files of the tree."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
import typer.main

from tests.citations import ROOT
from trunkline.cli.commands import app
from trunkline.config import Settings
from trunkline.gateway.options import GatewayOptions

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(app)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def typed(text: str, program: str) -> set[str]:
    """Return the first words that a page says after a program's name, in code."""
    code = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(code).splitlines() + re.findall(r"`([^`\n]+)`", text)
    found = (re.match(rf"(?:\$ )?{program} ([a-z][a-z-]*)", line.strip()) for line in lines)
    return {one[1] for one in found if one}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_says_to_type_exists(path) -> None:
    text = path.read_text()
    assert typed(text, "trunkline") - set(COMMANDS.commands) == set()
    assert typed(text, "make") - TARGETS == set()


def test_every_setting_is_in_the_page_on_settings() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    names = {one.name for one in (*fields(Settings), *fields(GatewayOptions))}
    assert [one for one in names - Settings.composed if f"`{one}`" not in page] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_exist(path) -> None:
    named = re.findall(r"`((?:examples|tests|bench|docs|src)/[\w./-]+)`", path.read_text())
    assert [one for one in named if not (ROOT / one).exists()] == []
