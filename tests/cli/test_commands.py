"""What every command shares: help, version, settings, quick starts."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.cli.conftest import Shell
from trunkline import __version__
from trunkline.config import setting_names


def test_the_version_and_the_help(shell: Shell) -> None:
    assert shell.out("--version") == f"trunkline {__version__}\n"
    told = shell.out("--help")
    for name in ("serve", "publish", "tail", "backlog", "last-id", "config", "demo", "doctor"):
        assert name in told
        assert "Usage: trunkline" in shell.out(name, "--help")
    assert "--max-backlog-size" in shell.out("publish", "--help")


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    done = shell.run(status=None)
    assert done.returncode in {0, 2}
    assert "Usage: trunkline" in done.stdout + done.stderr


def test_an_unknown_command_or_flag_is_a_usage_error(shell: Shell) -> None:
    assert "No such command" in shell.run("publsh", status=2).stderr
    assert "--jsn" in shell.run("config", "--jsn", status=2).stderr


def test_starting_imports_neither_the_server_nor_the_engine(shell: Shell) -> None:
    script = (
        "import sys\n"
        "from trunkline.cli import commands\n"
        "heavy = {'uvicorn', 'uvloop', 'sqlite3', 'aiohttp', 'trunkline.app', 'asyncio'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_config_shows_every_setting_and_where_it_came_from(shell: Shell) -> None:
    (shell.folder / "trunkline.toml").write_text('max_idle = "1h"\n')
    told = json.loads(
        shell.out(
            *("config", "--json", "--log", "redis://:hunter22@h/0"),
            TRUNKLINE_PUBLISH_KEYS="hunter22-key",
        )
    )
    assert told.keys() == setting_names()
    assert told["log"] == {"value": "redis://:***@h/0", "from": "argument"}
    assert told["max_idle"]["value"] == 3600.0
    assert told["max_idle"]["from"].endswith("trunkline.toml")
    assert told["publish_keys"] == {
        "value": ["***"],
        "from": "environment TRUNKLINE_PUBLISH_KEYS",
    }
    assert told["port"] == {"value": 8000, "from": "default"}


def test_config_as_a_table_masks_secrets_too(shell: Shell) -> None:
    told = shell.out("config", "--log", "redis://:hunter22@h/0")
    assert "redis://:***@h/0" in told
    assert "hunter22" not in told
    assert all(name in told for name in setting_names())


def test_a_wrong_setting_is_named_with_its_place_and_neighbours(shell: Shell) -> None:
    done = shell.run("config", status=2, TRUNKLINE_MAX_CHANELS="5")
    assert "TRUNKLINE_MAX_CHANELS" in done.stderr
    assert "TRUNKLINE_MAX_CHANNELS" in done.stderr
    assert done.stderr.count("\n") == 1
