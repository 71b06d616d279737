"""What the documents show is run: Python blocks, and console blocks with ``$ trunkline``.

Every document has one namespace, one event loop and one empty directory, where its commands run
too. Of a console block only the lines that start with ``$ trunkline`` run; what stands below one
must be its output, where ``…`` stands for anything. Other commands are for the reader.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

SECONDS = 30
PROMPT = "$ "
DIRECTORY = " directory"  # a space keeps it out of the way of the document's own names
RUNNER = " runner"


def set_up(namespace: dict[str, Any]) -> None:
    """Give a document its directory and its event loop."""
    namespace["__name__"] = "__document__"
    # Frameworks look up the module of the functions they are given.
    sys.modules.setdefault("__document__", types.ModuleType("__document__"))
    namespace[DIRECTORY] = tempfile.mkdtemp(prefix="trunkline-docs-")
    namespace[RUNNER] = asyncio.Runner()


def tear_down(namespace: dict[str, Any]) -> None:
    """Close the loop, remove the directory, and let our loggers speak again."""
    namespace[RUNNER].close()
    logging.getLogger("trunkline").setLevel(logging.NOTSET)
    shutil.rmtree(namespace[DIRECTORY])


def run_python(example: Example) -> None:
    """Run a Python block, which may ``await`` at its top level."""
    blanks = "\n" * (example.line + example.parsed.line_offset)  # tracebacks show document lines
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(blanks + example.parsed, example.path, "exec", flags=flags, dont_inherit=True)
    with contextlib.chdir(example.namespace[DIRECTORY]):
        if code.co_flags & inspect.CO_COROUTINE:
            example.namespace[RUNNER].run(eval(code, example.namespace))
        else:
            exec(code, example.namespace)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Split a console block into (command, expected output), continued lines joined."""
    joined = block.replace("\\\n", " ")
    for part in re.split(rf"^{re.escape(PROMPT)}", joined, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command.strip(), output.strip()


def matches(expected: str, actual: str) -> bool:
    """Tell whether the output is the expected one, ``…`` standing for anything."""
    pattern = ".*?".join(map(re.escape, expected.split("…")))
    return re.fullmatch(pattern, actual.strip(), flags=re.DOTALL) is not None


def run_console(example: Example) -> str | None:
    """Run the ``$ trunkline`` lines of a console block and compare what they print."""
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "NO_COLOR": "1"}
    for command, expected in commands(example.parsed):
        if shlex.split(command, comments=True)[:1] != ["trunkline"]:
            continue
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=example.namespace[DIRECTORY],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode or not matches(expected, done.stdout):
            return f"$ {command}\nexit {done.returncode}, printed:\n{done.stdout}\nnot:\n{expected}"
    return None


documents = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=run_python),
        CodeBlockParser(language="console", evaluator=run_console),
        SkipParser(),
    ],
    path=str(Path(__file__).resolve().parent.parent),
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/**/*.md"],
    setup=set_up,
    teardown=tear_down,
)
