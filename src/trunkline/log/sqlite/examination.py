"""Looking at a SQLite line from outside: the library, the disk under it and the file itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from trunkline.errors import LogError
from trunkline.log.finding import Finding
from trunkline.log.sqlite.location import Location
from trunkline.sql.connections import check_library
from trunkline.sql.faults import fault_of
from trunkline.sql.migrator import migrations, version_of
from trunkline.sql.turnstile import Turnstile

MIB: Final = 1024 * 1024
SYNCS: Final = 20
SLOW_SYNC: Final = 0.020
SUSPECT_SYNC: Final = 0.000_015
LARGE_WAL: Final = 256 * MIB
LITTLE_SPACE: Final = 1024 * MIB
NO_SPACE: Final = 64 * MIB
CHECKED_BYTES: Final = 256 * MIB
MENDED_LINES: Final = ((3, 44, 6), (3, 50, 7))
NETWORKED: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs"}
)


def examine(location: Location) -> list[Finding]:
    """Look at everything that guarantees or speed rest on; changes nothing.

    Args:
        location: Where the line is, or shall be.
    """
    folder = location.path.resolve().parent
    found = [_library()]
    if not folder.is_dir():
        fix = f"mkdir -p {folder}"
        return [*found, Finding("fail", "directory", f"{folder} does not exist", fix)]
    found.append(_permissions(location.path, folder))
    if found[-1].level != "fail":
        disk = (_file_system, _free_space, _sync_latency, _locks)
        found += [_looked(check, folder) for check in disk]
        found += _file(location)
    return found


def _looked(check: Callable[[Path], Finding], folder: Path) -> Finding:
    try:
        return check(folder)
    except (OSError, LogError) as error:
        subject = check.__name__.strip("_").replace("_", " ")
        return Finding("fail", subject, str(error), "use a local disk this user may write to")


def _library() -> Finding:
    try:
        check_library()
    except LogError as error:
        return Finding("fail", "SQLite library", str(error))
    return Finding("ok", "SQLite library", sqlite3.sqlite_version + _caution())


def _caution() -> str:
    """Name the WAL-reset race, which our own turns keep clear of: sqlite.org/wal.html."""
    found = sqlite3.sqlite_version_info
    is_mended = found >= (3, 51, 3) or any(
        line <= found < (line[0], line[1] + 1) for line in MENDED_LINES
    )
    return "" if is_mended else ", older than 3.51.3: let no other program write to the file"


def _permissions(path: Path, folder: Path) -> Finding:
    if not os.access(folder, os.W_OK | os.X_OK):
        # The log and the lock lie beside the database.
        return Finding(
            "fail", "permissions", f"{folder} is not writable", f"chown or chmod u+wx {folder}"
        )
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.is_dir():
            return Finding("fail", "permissions", f"{file} is a directory", "name a file in it")
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            return Finding(
                "fail", "permissions", f"{file} is not writable", f"chown or chmod u+rw {file}"
            )
    return Finding("ok", "permissions", f"{path} can be written")


def _file_system(folder: Path) -> Finding:
    kind = _mounted_as(folder)
    if kind in NETWORKED:
        return Finding(
            "fail",
            "file system",
            f"{kind}: write-ahead logging needs memory shared on one machine",
            "put the line on a local disk",
        )
    if kind in {"tmpfs", "ramfs"}:
        return Finding(
            "warn", "file system", f"{kind}: a reboot loses the line", "put it on a local disk"
        )
    return Finding("ok", "file system", kind or "unknown on this system")


def _mounted_as(folder: Path) -> str | None:
    """Return the type of the file system that holds *folder*, by Linux's proc(5)."""
    best, kind = "", None
    with contextlib.suppress(OSError):
        for mount in Path("/proc/mounts").read_text(errors="replace").splitlines():
            _, place, found, *_ = mount.split(" ")
            place = place.replace("\\040", " ")
            if folder.is_relative_to(place) and len(place) >= len(best):
                best, kind = place, found
    return kind


def _free_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1024**3:.1f} GiB free"
    if free < NO_SPACE:
        return Finding("fail", "free space", detail, "make room: publishes will soon be refused")
    if free < LITTLE_SPACE:
        return Finding("warn", "free space", detail, "make room, or set max_line_size")
    return Finding("ok", "free space", detail)


def _sync_latency(folder: Path) -> Finding:
    with tempfile.TemporaryFile(dir=folder) as file:
        latencies = []
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            latencies.append(time.perf_counter() - started)
    middle = statistics.median(latencies)
    detail = f"fsync takes {middle * 1000:.2f} ms (median of {SYNCS})"
    if middle > SLOW_SYNC:
        return Finding(
            "warn", "disk", detail, "use a faster disk: it bounds how long a lone publish takes"
        )
    if middle < SUSPECT_SYNC:
        return Finding(
            "warn", "disk", f"{detail}: hardly a disk", "see that power loss keeps what was synced"
        )
    return Finding("ok", "disk", detail)


def _locks(folder: Path) -> Finding:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        first, second = (Turnstile(Path(scratch) / "lock") for _ in range(2))
        try:
            holds = first.try_enter() and not second.try_enter()
        finally:
            first.close()
            second.close()
    if holds:
        return Finding("ok", "file locks", "flock holds other processes off")
    return Finding(
        "fail", "file locks", "flock does not hold", "put the line on a disk that supports flock"
    )


def _file(location: Location) -> Iterator[Finding]:
    path = location.path
    if not path.exists():
        yield Finding("ok", "file", f"{path} is not there yet: the first use makes it")
        return
    wal = path.with_name(path.name + "-wal")
    size, logged = path.stat().st_size, wal.stat().st_size if wal.exists() else 0
    yield _wal(logged)
    try:
        # Not as the engine opens it, which would switch a stranger's file to write-ahead logging.
        place = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(place, uri=True)) as connection:
            yield _schema(connection, path, size)
            yield _settings(connection)
            yield _integrity(connection, size)
    except sqlite3.Error as error:
        fix = "restore a backup, or name another file"
        yield Finding("fail", "file", str(fault_of(error, path)), fix)


def _wal(size: int) -> Finding:
    detail = f"{size / MIB:.1f} MiB"
    if size > LARGE_WAL:
        return Finding(
            "warn", "write-ahead log", detail, "look for a program that keeps a long read open"
        )
    return Finding("ok", "write-ahead log", detail)


def _schema(connection: sqlite3.Connection, path: Path, size: int) -> Finding:
    known, found = migrations("sqlite")[-1].version, version_of(connection)
    if found > known:
        detail = f"{path} has schema {found}, this release knows {known}"
        return Finding("fail", "file", detail, "upgrade trunkline")
    if found == 0:
        return Finding("warn", "file", f"{path} holds no line yet", "the first use makes one")
    return Finding("ok", "file", f"{path}, {size / MIB:.1f} MiB, schema {found}")


def _settings(connection: sqlite3.Connection) -> Finding:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode == "wal":
        return Finding("ok", "durability", "journal_mode=WAL; every connection sets FULL")
    return Finding("warn", "durability", f"journal_mode={mode}", "the first use sets WAL")


def _integrity(connection: sqlite3.Connection, size: int) -> Finding:
    if size > CHECKED_BYTES:
        command = "PRAGMA quick_check"
        return Finding("ok", "integrity", f"not looked at, the file is large: {command} does")
    answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer == "ok":
        return Finding("ok", "integrity", "quick_check finds nothing wrong")
    return Finding("fail", "integrity", str(answer), "restore a backup")
