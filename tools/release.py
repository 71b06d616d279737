"""Build a release, look into it, try it out in a fresh environment, and upload it if told to.

``make release`` is a rehearsal and leaves the artifacts in ``dist/``; ``make release PUBLISH=1``
uploads them with twine, from a clean tree whose commit carries the version's tag.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NEVER = (".venv", "node_modules", "__pycache__", ".db", ".pyc", ".npmrc.local", ".pypirc")
IN_SDIST = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "src/trunkline/py.typed")


def say(text: str) -> None:
    """Print one line of progress, at once."""
    print(f"release: {text}", flush=True)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and return what it printed; stop when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(map(str, command))
        sys.exit(f"release: failed: {words}\n{done.stdout}{done.stderr}")
    return done.stdout


def refuse(reasons: Iterable[str]) -> None:
    """Stop if there is a reason to."""
    if found := list(reasons):
        sys.exit("release: refused\n" + "\n".join(f"  {reason}" for reason in found))


def version() -> str:
    """Return the release that this tree is."""
    return str(runpy.run_path(str(ROOT / "src/trunkline/model/release.py"))["VERSION"])


def build() -> tuple[Path, Path]:
    """Build both artifacts, the wheel from the sdist, and return (sdist, wheel)."""
    say("building sdist and wheel")
    shutil.rmtree(DIST, ignore_errors=True)
    moment = run("git", "log", "-1", "--format=%ct").strip()
    os.environ.setdefault("SOURCE_DATE_EPOCH", moment)  # the same commit gives the same bytes
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST)
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    return sdist, wheel


def sources() -> set[str]:
    """Return the package's files as git knows them, by their names in a wheel."""
    listed = run("git", "ls-files", "src/trunkline").splitlines()
    return {name.removeprefix("src/") for name in listed}


def wheel_faults(names: set[str]) -> Iterable[str]:
    """Yield what is missing from a wheel, or too much in it."""
    yield from (f"the wheel lacks {name}" for name in sorted(sources() - names))
    for name in sorted(names):
        top = name.partition("/")[0]
        if top != "trunkline" and not top.endswith(".dist-info"):
            yield f"the wheel would install {name} beside the package"
        if name.endswith(NEVER) or "node_modules" in name:
            yield f"the wheel has {name}"


def sdist_faults(names: set[str]) -> Iterable[str]:
    """Yield what is missing from an sdist, or too much in it."""
    yield from (f"the sdist lacks {name}" for name in IN_SDIST if name not in names)
    for name in sorted(names):
        if any(word in name.split("/") or name.endswith(word) for word in NEVER):
            yield f"the sdist has {name}"


def inspect(sdist: Path, wheel: Path) -> None:
    """Stop unless both artifacts have what they should, and nothing else."""
    say("looking into both")
    with zipfile.ZipFile(wheel) as archive:
        refuse(wheel_faults(set(archive.namelist())))
    with tarfile.open(sdist) as archive:
        refuse(sdist_faults({name.partition("/")[2] for name in archive.getnames()}))
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)


def rehearse(wheel: Path) -> None:
    """Install the wheel where nothing else is and ask it for its version."""
    say("installing the wheel into a fresh environment")
    with tempfile.TemporaryDirectory(prefix="trunkline-release-") as name:
        home = Path(name)
        run(sys.executable, "-m", "venv", home / "venv")
        pip = (home / "venv/bin/python", "-m", "pip", "install", "-qq")
        run(*pip, "--require-hashes", "-r", ROOT / "requirements/runtime.txt")
        run(*pip, "--no-deps", wheel)
        run(home / "venv/bin/python", "-m", "pip", "check")
        said = run(home / "venv/bin/trunkline", "--version", cwd=home).split()
        refuse(f"trunkline --version says {said}" for _ in [0] if version() not in said)


def unready() -> Iterable[str]:
    """Yield why this tree may not be published."""
    if run("git", "status", "--porcelain").strip():
        yield "the tree has changes that are not committed"
    if f"v{version()}" not in run("git", "tag", "--points-at", "HEAD").split():
        yield f"this commit does not carry the tag v{version()}"
    if f"## [{version()}]" not in (ROOT / "CHANGELOG.md").read_text():
        yield f"CHANGELOG.md has no section for {version()}"


def main() -> None:
    """Build, inspect, rehearse; upload when ``--publish`` is given."""
    publish = "--publish" in sys.argv[1:]
    if publish:
        refuse(unready())
    sdist, wheel = build()
    inspect(sdist, wheel)
    rehearse(wheel)
    if publish:
        say("uploading")
        run(sys.executable, "-m", "twine", "upload", "--non-interactive", sdist, wheel)
        say(f"{version()} is published")
    else:
        say(f"{version()} is good; nothing was uploaded (PUBLISH=1 uploads it)")


if __name__ == "__main__":
    main()
