"""The browser client, served from where it is installed so that both always fit together."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Final

from trunkline.gateway.answer import Answer, problem_answer
from trunkline.gateway.request import Request, Send
from trunkline.wire.http import Headers
from trunkline.wire.problem import problem

ENTRY: Final = "/trunkline.js"
_PART = re.compile(r"/trunkline(/[a-z0-9][a-z0-9_-]*|\.global)?\.js\Z")


def find_scripts() -> Path | None:
    """Return the folder of the browser client: in the package, or in the tree beside it."""
    packaged = Path(str(files("trunkline"))) / "static"
    in_tree = Path(__file__).parents[3] / "clients" / "js"
    return next((one for one in (packaged, in_tree) if (one / ENTRY[1:]).is_file()), None)


def is_script_path(path: str) -> bool:
    """Tell whether a path is one of the client's modules."""
    return _PART.match(path) is not None


class ScriptEndpoint:
    """Serve ``/trunkline.js`` and the modules it imports.

    Args:
        folder: Where they are; None to look.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or find_scripts()
        # Path to when the file was written, and its answer.
        self._answers: dict[str, tuple[int, Answer]] = {}

    async def __call__(self, request: Request, send: Send) -> Answer:  # noqa: ARG002 - see Endpoint
        """Answer with a module, or with 304 where the browser has it already."""
        answer = self._find(request.path)
        if answer is None:
            return problem_answer(problem(404, "not-found", "the client has no such module"))
        etag = dict(answer.headers)["etag"]
        if etag in (request.header("if-none-match") or ""):
            return Answer(304, answer.headers)
        return answer

    def _find(self, path: str) -> Answer | None:
        if self._folder is None or not is_script_path(path):
            return None
        file = self._folder / path[1:]
        try:
            written = file.stat().st_mtime_ns
            known = self._answers.get(path)
            if known is None or known[0] != written:
                known = self._answers[path] = (written, _answer(file.read_bytes()))
        except OSError:
            return None
        return known[1]


def _answer(text: bytes) -> Answer:
    headers: Headers = [
        ("content-type", "text/javascript; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("etag", f'"{hashlib.sha256(text).hexdigest()[:32]}"'),
    ]
    return Answer(200, headers, text)
