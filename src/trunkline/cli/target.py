"""What ``trunkline serve`` serves, made anew in each worker process."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Final

import msgspec

from trunkline.app import Trunkline
from trunkline.errors import ConfigError, TrunklineError
from trunkline.gateway.application import Application

#: Tells worker processes what to serve; without our settings' prefix, for it is none.
VARIABLE: Final = "_TRUNKLINE_TARGET"
FACTORY: Final = "trunkline.cli.target:application"


class Target(msgspec.Struct, frozen=True):
    """Say what to serve.

    Args:
        place: ``MODULE:OBJECT``, or None for a gateway of its own.
        may_open: Whether everybody may read everything there.
    """

    place: str | None
    may_open: bool

    def publish(self) -> None:
        """Tell the worker processes that this process will start."""
        os.environ[VARIABLE] = msgspec.json.encode(self).decode()

    def application(self) -> Application:
        """Make the application.

        Raises:
            ConfigError: The place names none, or it would be open to strangers.
        """
        found = Trunkline() if self.place is None else _found(self.place)
        if not isinstance(found, Trunkline):
            guest: Application = found
            return guest
        if not self.may_open:
            raise ConfigError(
                "this gateway lets everybody read everything, so it listens on loopback only: "
                "say --open to mean it, or serve an application whose gateway has identify= and "
                "access="
            )
        return found.gateway(open=True)


def application() -> Application:
    """Make the application that the parent process told this one to serve."""
    return msgspec.json.decode(os.environ[VARIABLE], type=Target).application()


def _found(place: str) -> Any:
    found = load(place)
    if not callable(found) and not isinstance(found, Trunkline):
        raise ConfigError(
            f"{place!r} is no ASGI application, and no Trunkline either: name one of them"
        )
    return found


def load_line(place: str | None) -> Trunkline:
    """Import a line, or make the one that the settings describe.

    Args:
        place: ``MODULE:OBJECT``, or None.

    Raises:
        ConfigError: It cannot be imported, or is none.
    """
    found = Trunkline() if place is None else load(place)
    if not isinstance(found, Trunkline):
        raise ConfigError(f"{place!r} is no Trunkline, but a {type(found).__name__}")
    return found


def load(place: str) -> Any:
    """Import an object.

    Args:
        place: ``MODULE:OBJECT``.

    Raises:
        ConfigError: It cannot be imported.
    """
    module_name, colon, path = place.partition(":")
    if not (module_name and colon and path):
        raise ConfigError(f"{place!r} must be MODULE:OBJECT, such as shop.main:app")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = _module(module_name)
    for name in path.split("."):
        found = getattr(found, name, None)
        if found is None:
            raise ConfigError(f"{module_name!r} has no {path!r}: name a variable of that module")
    return found


def _module(name: str) -> object:
    """Import a module; what goes wrong in it is told by its place, for the code is the reader's."""
    try:
        return importlib.import_module(name)
    except TrunklineError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
            advice = f"no module {error.name!r} in {Path.cwd()} or on PYTHONPATH"
            raise ConfigError(f"{name!r} cannot be imported: {advice}") from error
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}, line {last.lineno}"
        why = f"{type(error).__name__}: {error} ({place})"
        raise ConfigError(f"{name!r} cannot be imported: {why}") from error
