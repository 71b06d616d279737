"""The one writer of a SQLite file in this process.

Statements run on the event loop, which decides synchronously; whatever waits for another
process, for a lock or for the disk runs in the writer's one thread. So no thread fights for
the interpreter between two rows, and the loop never waits; except for small commits to a disk that
is quick, see :mod:`trunkline.sql.haste`.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from trunkline.errors import LogUnavailableError
from trunkline.sql.connections import set_busy_timeout
from trunkline.sql.courtesy import Courtesy
from trunkline.sql.faults import fault_of, is_busy
from trunkline.sql.haste import Haste
from trunkline.sql.hold import Hold
from trunkline.sql.turnstile import Turnstile
from trunkline.sql.unit import Unit

logger = logging.getLogger(__name__)

Done = Callable[[Any, BaseException | None], None]

#: Pages of the write-ahead log after which a commit checkpoints; SQLite's own default.
CHECKPOINT_PAGES: Final = 1000


class WorkThread:
    """Run functions one after another in a thread, and report back on the loop.

    Args:
        name: The thread's name.
        loop: Where results are told.
        courtesy: Keeps a busy loop from starving the thread.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, courtesy: Courtesy) -> None:
        self._loop = loop
        self._courtesy = courtesy
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], Any], done: Done) -> None:
        """Run *job* in the thread, then *done* with its result or error on the loop."""
        self._courtesy.begin()
        self._jobs.put((job, done))

    def _told(self, done: Done, result: Any, error: BaseException | None) -> None:
        self._courtesy.end()
        done(result, error)

    def stop(self) -> None:
        """End the thread after what was submitted."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            result: Any = None
            error: BaseException | None = None
            try:
                result = job()
            except BaseException as raised:  # noqa: BLE001 - it is handed to whoever waits
                error = raised
            try:
                self._loop.call_soon_threadsafe(self._told, done, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody is left to tell


class Writer:
    """Run units of work, one transaction each, in turns with other processes.

    Args:
        connection: The writing connection; nobody else may use it.
        path: Its file, for messages.
        turnstile: Keeps the processes' turns.
        thread: Where waiting and committing happen.
        busy_timeout: Seconds to wait for other processes before a unit fails.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        turnstile: Turnstile,
        thread: WorkThread,
        busy_timeout: float,
    ) -> None:
        self._connection = connection
        self._path = path
        self._turnstile = turnstile
        self._thread = thread
        self._busy_timeout = busy_timeout
        self._loop = asyncio.get_running_loop()
        self._units: deque[Unit] = deque()
        self._unit: Unit | None = None
        self._is_busy = False
        #: Another process has kept the turn for too long; the thread still waits for it.
        self._is_stuck = False
        self._patience: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None
        self._haste = Haste()
        self._checkpoints = True
        set_busy_timeout(connection, 0)

    def submit(self, unit: Unit) -> None:
        """Queue a unit; it runs at the loop's next round at the earliest. Call on the loop."""
        self._units.append(unit)
        if not self._is_busy:
            self._is_busy = True
            # Others who are just being woken get the chance to join the unit.
            self._loop.call_soon(self._next)

    async def drain(self) -> None:
        """Wait until everything submitted is settled."""
        while self._is_busy and not self._is_stuck:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def _tell_idle(self) -> None:
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _next(self) -> None:
        if not self._units:
            self._is_busy = False
            self._tell_idle()
            return
        self._unit = self._units.popleft()
        try:
            entered = self._turnstile.try_enter()
        except OSError as error:
            self._settle(error)
            return
        if entered:
            self._begin()
        else:
            self._be_patient()
            self._thread.submit(self._turnstile.enter, self._entered)

    def _be_patient(self) -> None:
        self._patience = self._loop.call_later(self._busy_timeout, self._lose_patience)

    def _lose_patience(self) -> None:
        """Fail whoever waits; the thread goes on waiting for the turn."""
        waiting = [unit for unit in (self._unit, *self._units) if unit is not None]
        self._unit = None
        self._units.clear()
        for unit in waiting:
            self._tell(
                unit,
                LogUnavailableError(
                    f"another process kept {self._path} for more than {self._busy_timeout:g} s: "
                    "look for one that is stopped or stuck"
                ),
            )
        self._is_stuck = True
        self._tell_idle()
        self._be_patient()

    def _entered(self, _: Any, error: BaseException | None) -> None:
        self._is_stuck = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._unit is None and self._units:
            self._unit = self._units.popleft()
        if error is not None:
            self._settle(error)
        elif self._unit is None:
            self._turnstile.leave()
            self._next()
        else:
            self._begin()

    def _begin(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if is_busy(error):
                # A guest's own connection writes: SQLite's waiting is for the thread.
                self._thread.submit(self._begin_slowly, self._begun)
            else:
                self._fail(error)
            return
        self._work()

    def _begin_slowly(self) -> None:
        set_busy_timeout(self._connection, self._busy_timeout)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        finally:
            set_busy_timeout(self._connection, 0)

    def _begun(self, _: Any, error: BaseException | None) -> None:
        if error is None:
            self._work()
        else:
            self._fail(error)

    def _work(self) -> None:
        unit = self._unit
        if unit is None:
            return
        if isinstance(unit, Hold):
            unit.hand_over(self._connection, partial(self._take_back, unit))
            return
        if unit.is_long:
            self._thread.submit(partial(self._work_and_commit, unit), self._committed)
            return
        try:
            has_written = unit.work(self._connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, the unit hears of it
            self._fail(error)
            return
        if not has_written:
            self._fail(None)
        elif unit.is_small and self._haste.allows:
            self._commit_here(unit)
        else:
            self._thread.submit(partial(self._commit, unit), self._committed)

    def _commit_here(self, unit: Unit) -> None:
        """Commit on the loop, without a checkpoint."""
        try:
            seconds = self._commit(unit, checkpoints=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the unit hears of it
            self._fail(error)
        else:
            self._haste.note(seconds, on_loop=True)
            self._settle(None)

    def _take_back(self, hold: Hold, commits: bool) -> None:  # noqa: FBT001 - what it says
        if commits:
            self._thread.submit(partial(self._commit, hold), self._committed)
        else:
            self._fail(None)

    @property
    def is_held_by_caller(self) -> bool:
        """Tell whether the running task holds the turn, and would wait for itself."""
        unit = self._unit
        return isinstance(unit, Hold) and unit.owner is asyncio.current_task()

    def _work_and_commit(self, unit: Unit) -> float:
        unit.work(self._connection)
        return self._commit(unit)

    def _commit(self, unit: Unit, *, checkpoints: bool = True) -> float:
        """Commit and let the next process in, without waiting for the loop.

        Returns:
            How long it took, seconds.
        """
        if checkpoints is not self._checkpoints:
            pages = CHECKPOINT_PAGES if checkpoints else 0
            self._connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
            self._checkpoints = checkpoints
        began = time.perf_counter()
        unit.finish(self._connection)
        self._connection.execute("COMMIT")
        took = time.perf_counter() - began
        self._turnstile.leave()
        return took

    def _committed(self, took: float, error: BaseException | None) -> None:
        if error is None:
            self._haste.note(took, on_loop=False)
            self._settle(None)
        else:
            self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        """Undo the transaction, if any, leave the turn and settle."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            logger.exception("the transaction on %s could not be rolled back", self._path)
        self._turnstile.leave()
        self._settle(error)

    def _settle(self, error: BaseException | None) -> None:
        unit, self._unit = self._unit, None
        if isinstance(error, sqlite3.Error):
            fault = fault_of(error, self._path)
            fault.__cause__ = error
            error = fault
        if unit is not None:
            self._tell(unit, error)
        if self._units or self._idle is not None:
            self._loop.call_soon(self._next)
        else:
            self._is_busy = False

    def _tell(self, unit: Unit, error: BaseException | None) -> None:
        try:
            unit.settle(error)
        except Exception:
            logger.exception("a unit of work on %s failed after its commit", self._path)
