"""Whole responses, and how they go out over ASGI."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trunkline.gateway.request import Send
from trunkline.wire.http import Headers, asgi_headers, merge_headers
from trunkline.wire.problem import Problem, problem_of

JSON_TYPE = "application/json"
NO_STORE = ("cache-control", "no-store")


class Answer(msgspec.Struct, frozen=True):
    """Be a whole response.

    Args:
        status: The HTTP status.
        headers: Header fields, names in lower case, without Content-Length.
        body: The body.
    """

    status: int
    headers: Headers
    body: bytes = b""

    def with_headers(self, extra: Iterable[tuple[str, str]]) -> Answer:
        """Return the same answer with headers added; those of one name replace ours."""
        return Answer(self.status, merge_headers(self.headers, extra), self.body)

    async def send(
        self, send: Send, *, without_body: bool = False, prefix: str = "http.response"
    ) -> None:
        """Send it.

        Args:
            send: ASGI's send.
            without_body: Whether to leave the body out, as an answer to HEAD must.
            prefix: What the types of ASGI's events begin with.
        """
        headers = self.headers
        if self.status not in {204, 304}:
            headers = [*headers, ("content-length", str(len(self.body)))]
        await send(
            {
                "type": f"{prefix}.start",
                "status": self.status,
                "headers": asgi_headers(headers),
            }
        )
        await send({"type": f"{prefix}.body", "body": b"" if without_body else self.body})


def json_answer(body: bytes, *, status: int = 200, headers: Headers | None = None) -> Answer:
    """Make an answer of JSON text that nobody stores.

    Args:
        body: JSON.
        status: The HTTP status.
        headers: More headers.

    Returns:
        The answer.
    """
    return Answer(status, [("content-type", JSON_TYPE), NO_STORE, *(headers or [])], body)


def problem_answer(problem: Problem, *, headers: Headers | None = None) -> Answer:
    """Make an answer of a problem document.

    Args:
        problem: The document.
        headers: More headers.

    Returns:
        The answer, with Retry-After where the problem has one.
    """
    extra = list(headers or [])
    if problem.status == 401:
        extra.append(("www-authenticate", 'Bearer realm="trunkline"'))
    return Answer(problem.status, [*problem.headers(), *extra], problem.encode())


def error_answer(error: Exception) -> Answer:
    """Make the answer that an exception deserves; of a foreign one it tells nothing."""
    return problem_answer(problem_of(error))
