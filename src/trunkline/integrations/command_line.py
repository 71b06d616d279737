"""The command line within a framework's own: with its settings, and the handlers declared there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.sync import Trunkline


def run_command(
    words: Sequence[str], line: Trunkline, settings: Mapping[str, Any], *, name: str
) -> None:
    """Run a command, and exit.

    Args:
        words: Its words, such as ``publish /a 1``.
        line: The framework's line, whose work ``worker`` does and whose tables ``migrate`` makes.
        settings: The line's settings, which the other commands read from the environment.
        name: What people type before the words.
    """
    if list(words) == ["worker"]:
        asyncio.run(work(line))
        return
    if list(words) == ["migrate"]:
        line.open().close()
        return
    os.environ.update(environment_of(settings))
    from trunkline.cli.commands import app

    app(list(words), prog_name=name)


def environment_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as the environment says them; what stands there already wins.

    Args:
        settings: By name.
    """
    found = {}
    for name, value in settings.items():
        variable = f"TRUNKLINE_{name.upper()}"
        if value is None or variable in os.environ:
            continue
        if isinstance(value, Mapping):
            found[variable] = json.dumps(value)
        elif isinstance(value, list | tuple):
            found[variable] = ",".join(map(str, value))
        else:
            found[variable] = str(value)
    return found


async def work(line: Trunkline) -> None:
    """Do a worker's work with what is declared on a line, until a signal ends it.

    Args:
        line: The line, whose plain handlers run in threads.
    """
    from trunkline.worker import work_until

    stop = asyncio.Event()
    await line.settle_here()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)

    def say(names: Sequence[str]) -> None:
        sys.stdout.write(f"working: {', '.join(names)}\n")
        sys.stdout.flush()

    await work_until(line.asynchronous, stop, started=say)
