"""The example of an app store runs, and does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "app_store.py"
SAYS = """\
the app waits for lesson
the account grants user lesson
the app hears {"lesson": {"id": 4, "name": "Algebra I"}}
more requests: 0
"""


def test_the_app_hears_of_three_quick_updates_once_with_the_last_state(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        capture_output=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (done.stdout.decode(), done.stderr.decode()) == (SAYS, "")
