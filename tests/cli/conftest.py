"""The command line as a real process, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "trunkline.cli"]


class Shell:
    """Run the command line in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}

    def run(
        self, *arguments: str, given: str | bytes = b"", status: int | None = 0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit status."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            input=given.encode() if isinstance(given, str) else given,
            capture_output=True,
            cwd=self.folder,
            env={**self.environ, **environ},
            timeout=60,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        assert status is None or done.returncode == status, f"{done.returncode}: {out}{err}"
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def out(self, *arguments: str, **options: Any) -> str:
        """Run a command and return what it printed."""
        return self.run(*arguments, **options).stdout

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command and return the JSON objects it printed, one a line."""
        return [json.loads(line) for line in self.out(*arguments, "--json").splitlines()]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command and leave it running."""
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.folder, env=self.environ, **{**pipes, **options}
        )


def end(process: subprocess.Popen[bytes], number: int) -> Sequence[str]:
    """Send a signal and return what was printed on either stream afterwards."""
    process.send_signal(number)
    return [stream.decode() for stream in process.communicate(timeout=30)]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)
