"""A loop in a thread of its own, for those who can't await."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from trunkline.errors import LineClosedError, UsageError

#: Seconds that closing waits for the thread.
PATIENCE = 10.0


class Portal:
    """Run functions and coroutines on an event loop in a background thread.

    The thread starts with the first call. It is a daemon: a program that ends without closing
    does not wait for it.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_guest = False

    @classmethod
    def here(cls, name: str) -> Portal:
        """Return a portal to the loop that runs here, which goes on when the portal is closed.

        Args:
            name: Names it.
        """
        portal = cls(name)
        portal._loop, portal._thread = asyncio.get_running_loop(), threading.current_thread()
        portal._is_guest = True
        return portal

    @property
    def is_running(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread is not None and not self._is_closed

    @property
    def is_guest(self) -> bool:
        """Tell whether the loop is somebody else's."""
        return self._is_guest

    @property
    def is_inside(self) -> bool:
        """Tell whether the caller is in the loop's own thread."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function on the loop, await what it returns if it can be, and return the result.

        The caller's context variables hold inside. An interrupt, such as Ctrl-C, cancels the
        work and is raised at once.

        Args:
            function: Any function or coroutine function.
            *args: For it.
            **options: For it.

        Raises:
            UsageError: The caller is in the loop's thread and would wait for itself.
            LineClosedError: The portal is closed.
        """
        if self.is_inside:
            raise UsageError(
                "this is the loop's own thread, where waiting would never end: make the handler a "
                "coroutine function and await the asynchronous line"
            )
        loop = self._running_loop()
        answer: Future[Any] = Future()
        work = _Work(function, args, options, answer)
        context = contextvars.copy_context()
        try:
            loop.call_soon_threadsafe(work.begin, loop, context)
        except RuntimeError as error:
            raise LineClosedError("the line was closed meanwhile: open it again") from error
        try:
            return answer.result()
        except CancelledError as error:
            raise LineClosedError(
                "the line was closed meanwhile: nothing is known of it"
            ) from error
        except BaseException:
            if not answer.done():
                loop.call_soon_threadsafe(work.cancel)
            raise

    def visit(self) -> Visit:
        """Begin a series of calls that run in one task, as a transaction's must."""
        return Visit(self)

    def close(self) -> None:
        """End what runs, the loop and the thread. Idempotent."""
        with self._turn:
            self._is_closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None or self._is_guest:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._turn:
            if self._is_closed:
                raise LineClosedError("the line was closed: open it again")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


class _Work:
    """Be one call on its way through the portal."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: dict[str, Any],
        answer: Future[Any],
    ) -> None:
        self._function = function
        self._args = args
        self._options = options
        self._answer = answer
        self._task: asyncio.Task[None] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        """Run in a task of its own."""
        self._task = loop.create_task(self.run(), context=context)

    def cancel(self) -> None:
        """Give up: nobody waits for the answer."""
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Do it, and answer."""
        try:
            found = self._function(*self._args, **self._options)
            result = await found if inspect.isawaitable(found) else found
        except asyncio.CancelledError:
            self._answer.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            self._answer.set_exception(error)
        else:
            self._answer.set_result(result)


class Visit:
    """Make calls one after another in one task on the loop.

    Args:
        portal: Leads to the loop.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._calls: asyncio.Queue[_Work | None] = asyncio.Queue()
        self._is_interrupted = False
        self._task: asyncio.Task[None]
        portal.call(self._begin)

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function in the visit's task; as :meth:`Portal.call`.

        Raises:
            LineClosedError: The visit is over.
        """
        return self._portal.call(self._hand_in, function, args, options)

    def end(self) -> None:
        """End the task. Idempotent."""
        with contextlib.suppress(LineClosedError):
            self._portal.call(self._calls.put_nowait, None)

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="trunkline visit")

    async def _hand_in(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        if self._task.done():
            raise LineClosedError("this block was interrupted and is over: begin another")
        answer: Future[Any] = Future()
        self._calls.put_nowait(_Work(function, args, options, answer))
        waiting = asyncio.wrap_future(answer)
        try:
            await asyncio.wait((waiting, self._task), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # The caller was interrupted. The task lives on, for the block has yet to be left.
            self._is_interrupted = True
            self._task.cancel()
            raise
        if not waiting.done():
            raise LineClosedError("this block was interrupted and is over: begin another")
        return waiting.result()

    async def _run(self) -> None:
        while (work := await self._calls.get()) is not None:
            try:
                await work.run()
            except asyncio.CancelledError:
                if not self._is_interrupted:
                    raise
                self._is_interrupted = False
                self._task.uncancel()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
