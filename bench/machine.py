"""What the figures were measured on, and where on it servers and clients run."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from bench.compiler import BUILD

PACKAGES = ("uvicorn", "uvloop", "httptools", "websockets", "msgspec")
#: Descriptors that a process needs besides one per connection.
SPARE_FILES = 200


def cores() -> tuple[set[int], set[int]]:
    """Return the cores of the server and of the client: not the same if there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[1 % len(usable)]}


def raise_file_limit() -> int:
    """Allow as many open files as this user may have, and return how many connections fit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (10**6 if hard == resource.RLIM_INFINITY else hard) - SPARE_FILES


def describe() -> dict[str, str]:
    """Describe the machine and what runs on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{len(os.sched_getaffinity(0))} cores ({processor()}), {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {distribution()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "disk": f"write of 4 KiB and fdatasync {sync_time() * 1000:.2f} ms (median)",
        "load": f"{os.getloadavg()[0]:.1f} before the first run",
        "commit": commit(),
    }


def processor() -> str:
    """Return the processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def distribution() -> str:
    """Return the system's name."""
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", sys.platform)
    return sys.platform


def commit() -> str:
    """Return the commit that is measured, and whether the tree differs from it."""
    git = ["git", "-C", str(BUILD.parent.parent)]
    try:
        name = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True)
        dirty = subprocess.check_output([*git, "status", "--porcelain", "src"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "not a checkout"
    return name.strip() + (" with changes" if dirty else "")


def sync_time(count: int = 200) -> float:
    """Return how long a small durable write takes where the logs are kept, in seconds."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / "sync-probe"
    times = []
    with path.open("wb") as file:
        for index in range(count):
            began = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, index * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return sorted(times)[count // 2]
