"""What becomes of exceptions: a client's mistake is answered, anything else is told to somebody."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from trunkline.errors import TrunklineError
from trunkline.gateway.answer import Answer, error_answer
from trunkline.gateway.request import Request
from trunkline.wire.http import merge_headers
from trunkline.wire.problem import Problem, problem_of

logger = logging.getLogger("trunkline.gateway")

Pairs = Mapping[str, str] | Iterable[tuple[str, str]]
Response = tuple[int, Pairs, bytes]
OnError = Callable[[Request, Exception], Awaitable[Response | None] | Response | None]


def pairs_of(given: Pairs) -> list[tuple[str, str]]:
    """List headers that a hook returned, whether as a mapping or as pairs."""
    items = given.items() if isinstance(given, Mapping) else given
    return [(str(name), str(value)) for name, value in items]


class Failures:
    """Turn exceptions of endpoints and hooks into answers.

    Args:
        on_error: The application's hook. It is called for failures only, never for a client's
            mistakes; it may return status, headers and body of the answer.
    """

    def __init__(self, on_error: OnError | None = None) -> None:
        self._on_error = on_error

    @property
    def has_hook(self) -> bool:
        """Tell whether the application wants to hear of failures."""
        return self._on_error is not None

    async def explain(self, request: Request, error: Exception) -> Answer:
        """Make the answer to a request that raised.

        Args:
            request: The request.
            error: What was raised.

        Returns:
            What the hook says; else the problem it is, which tells nothing of a foreign error.
        """
        if isinstance(error, TrunklineError) and error.status < 500:
            return error_answer(error)
        given = await self._ask_hook(request, error)
        if given is not None:
            return given
        self._note(request, error)
        return error_answer(error)

    async def report(self, request: Request | None, error: Exception) -> Problem:
        """Make the problem that is told where no HTTP answer can be given any more.

        Args:
            request: How the connection began, if that was kept.
            error: What was raised.

        Returns:
            The problem.
        """
        if not isinstance(error, TrunklineError) or error.status >= 500:
            if request is not None:
                await self._ask_hook(request, error)
            self._note(request, error)
        return problem_of(error)

    def _note(self, request: Request | None, error: Exception) -> None:
        if getattr(error, "status", 500) not in range(400, 500):
            logger.error("%r failed", request or "a connection", exc_info=error)

    async def _ask_hook(self, request: Request, error: Exception) -> Answer | None:
        if self._on_error is None:
            return None
        try:
            given = self._on_error(request, error)
            response = await given if inspect.isawaitable(given) else given
            if response is None:
                return None
            status, headers, body = response
            return Answer(status, merge_headers([], pairs_of(headers)), body)
        except Exception:
            logger.exception("on_error failed for %r", request)
            return None
