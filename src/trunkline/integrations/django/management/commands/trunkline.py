"""``manage.py trunkline …``: the command line, with Django's settings, handlers and databases."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand

from trunkline.integrations.django.configuration import configuration
from trunkline.integrations.django.lines import opened, prepared

APPLICATION = "trunkline.integrations.django.asgi:application"


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Run the command line."""

    help = "Run trunkline with the settings TRUNKLINE: publish, tail, serve, worker, doctor, …"
    requires_system_checks: Sequence[str] = ()

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Run it with the arguments as they are, which Django does not know."""
        self.handle(*argv[2:])

    def add_arguments(self, parser: Any) -> None:
        """Take any arguments, for ``call_command``."""
        parser.add_argument("words", nargs="*")

    def handle(self, *words: Any, **options: Any) -> None:
        """Run it."""
        given = [str(one) for one in (*words, *options.get("words", ()))]
        os.environ.update(_environment(configuration().line))
        if given == ["worker"]:
            asyncio.run(_work())
            return
        if given == ["migrate"]:
            opened().close()
            return
        if given[:1] == ["serve"] and not any(":" in one for one in given[1:]):
            given.insert(1, APPLICATION)
        from trunkline.cli.commands import app

        app(given, prog_name="manage.py trunkline", standalone_mode=not options)


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as the environment says them; what stands there already wins."""
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


async def _work() -> None:
    """Do a worker's work with the handlers that Django's applications declare."""
    from trunkline.worker import work_until

    line, stop = prepared(), asyncio.Event()
    await line.settle_here()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)

    def say(names: Sequence[str]) -> None:
        sys.stderr.write(f"trunkline: running {', '.join(names)}\n")

    await work_until(line.asynchronous, stop, started=say)
