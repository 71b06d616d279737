"""``manage.py trunkline …``: the command line, with Django's settings, handlers and databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand

from trunkline.integrations.command_line import run_command
from trunkline.integrations.django.configuration import configuration
from trunkline.integrations.django.lines import prepared

APPLICATION = "trunkline.integrations.django.asgi:application"


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Run the command line."""

    help = "Run trunkline with the settings TRUNKLINE: publish, tail, serve, worker, doctor, …"
    requires_system_checks: Sequence[str] = ()

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Run it with the arguments as they are, which Django does not know."""
        self.handle(words=argv[2:])

    def add_arguments(self, parser: Any) -> None:
        """Take any arguments, for ``call_command``."""
        parser.add_argument("words", nargs="*")

    def handle(self, *, words: Sequence[Any], **_: Any) -> None:
        """Run it."""
        given = [str(one) for one in words]
        if given[:1] == ["serve"] and not any(":" in one for one in given[1:]):
            given.insert(1, APPLICATION)
        run_command(given, prepared(), configuration().line, name="manage.py trunkline")
