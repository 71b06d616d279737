"""The doctor looks at engine and machine, changes nothing, and fails on what must be mended."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping

import pytest

from tests.cli.conftest import Shell


def findings(shell: Shell, *arguments: str, status: int = 0) -> Mapping[str, Mapping[str, str]]:
    done = shell.run("doctor", "--json", *arguments, status=status)
    return {one["subject"]: one for one in json.loads(done.stdout)}


def test_a_healthy_line_is_found_healthy(shell: Shell) -> None:
    shell.run("publish", "/a", "x")
    found = findings(shell)
    for subject in ("log", "SQLite library", "permissions", "file locks", "file", "integrity"):
        assert found[subject]["level"] == "ok", found[subject]
    assert {"disk", "free space", "file system", "write-ahead log", "open files"} <= found.keys()


def test_looking_changes_nothing(shell: Shell) -> None:
    with sqlite3.connect(shell.folder / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    before = (shell.folder / "other.db").read_bytes()
    assert findings(shell, "--log", "sqlite:///other.db")["file"]["level"] == "warn"
    findings(shell, "--log", "sqlite:///missing.db")
    assert [one.name for one in shell.folder.iterdir()] == ["other.db"]
    assert (shell.folder / "other.db").read_bytes() == before


@pytest.mark.parametrize(
    ("log", "subject", "word"),
    [
        ("sqlite:///no/such/x.db", "directory", "mkdir"),
        ("sqlite:///bad.db", "file", "backup"),
        ("sqlite:///folder", "permissions", "name a file"),
        ("sqlite:///newer.db", "file", "upgrade"),
        ("nosuch://", "log", ""),
    ],
)
def test_what_must_be_mended_fails_with_its_fix(
    shell: Shell, log: str, subject: str, word: str
) -> None:
    (shell.folder / "bad.db").write_bytes(os.urandom(8192))
    (shell.folder / "folder").mkdir()
    shell.run("publish", "/a", "x", "--log", "sqlite:///newer.db")
    with sqlite3.connect(shell.folder / "newer.db") as newer:
        newer.execute("INSERT INTO trunkline_schema VALUES (999, 'later')")
    newer.close()

    found = findings(shell, "--log", log, status=1)[subject]
    assert found["level"] == "fail"
    assert word in found.get("fix", "")


def test_low_limits_are_pointed_out(shell: Shell) -> None:
    found = findings(shell, "--log", "memory://")
    assert found["log"]["level"] == "ok"
    found = {
        one["subject"]: one
        for one in json.loads(
            shell.out(
                *("doctor", "--json", "--log", "memory://"), TRUNKLINE_MAX_CONNECTIONS="9000000"
            )
        )
    }
    assert found["open files"]["level"] == "warn"
    assert "ulimit" in found["open files"]["fix"]


def test_the_table_counts_what_it_shows(shell: Shell) -> None:
    done = shell.run("doctor", "--log", "sqlite:///no/such/x.db", status=1)
    assert "✗ fail" in done.stdout
    assert "1 to mend" in done.stdout
    assert "mkdir -p" in done.stdout
