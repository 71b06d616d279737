"""Pin the requirements anew, with hashes and without a word about where they came from.

``make lock`` runs it after an ``.in`` file changed; ``make lock UPGRADE=1`` moves everything to
its newest version. Compile with the oldest supported Python: it needs the most backports, and a
backport too many does no harm on a newer one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
#: In this order, for a set may be constrained by those before it.
SETS = ("build", "runtime", "dev", "bench", "release", "lock")
OPTIONS = [
    *("--quiet", "--generate-hashes", "--allow-unsafe", "--strip-extras"),
    *("--no-header", "--no-annotate", "--no-emit-options"),
    *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"),
]
REVEALING = re.compile(r"https?:|file:/|index-url|find-links|trusted-host|/(home|root|tmp|work)/")


def compile_set(name: str, *, upgrade: bool) -> None:
    """Write ``requirements/<name>.txt`` from ``requirements/<name>.in``.

    Args:
        name: One of ``SETS``.
        upgrade: Take the newest versions instead of keeping those pinned.

    Raises:
        SystemExit: The result names an address or a path of this machine.
    """
    print(f"lock: requirements/{name}.txt", flush=True)
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS]
    command += ["--upgrade"] * upgrade
    command += [f"--output-file={name}.txt", f"{name}.in"]
    environment = {k: v for k, v in os.environ.items() if k != "PIP_FIND_LINKS"}
    environment["PIP_CONFIG_FILE"] = os.devnull
    subprocess.run(command, cwd=REQUIREMENTS, check=True, env=environment)
    text = (REQUIREMENTS / f"{name}.txt").read_text("utf-8")
    if found := REVEALING.search(text):
        sys.exit(f"lock: requirements/{name}.txt names {found[0]!r}: remove it before committing")


def main() -> None:
    """Compile every set in order."""
    if sys.version_info[:2] != (3, 11):
        sys.exit("lock: compile the pins with Python 3.11, the oldest that is supported")
    for name in SETS:
        compile_set(name, upgrade="--upgrade" in sys.argv[1:])


if __name__ == "__main__":
    main()
