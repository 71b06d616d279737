"""What a worker runs: work that goes on until it is told to stop, and then finishes cleanly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Protocol

from trunkline.errors import ConfigError
from trunkline.runtime.crew import Crew
from trunkline.runtime.loops import supervise


class Service(Protocol):
    """Be work that goes on for as long as a worker does.

    A service that belongs to others may name them together by an attribute ``group``.
    """

    @property
    def name(self) -> str:
        """Name it for profiles and log lines."""

    async def run(self) -> None:
        """Work until stopped; after an exception it is run again."""

    def stop(self) -> None:
        """Have :meth:`run` finish what is in hand and return."""


class Services:
    """Run services in a crew, each once.

    Args:
        crew: Whose work they are.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._running: list[Service] = []

    def start(self, services: Iterable[Service]) -> None:
        """Run services that don't run yet, until stopped."""
        for service in services:
            if service not in self._running:
                self._running.append(service)
                work = partial(supervise, service.name, service.run)
                self._crew.start(service.name, work, finishes=True)

    def stop(self) -> None:
        """Have all finish; the crew's closing waits for them."""
        for service in self._running:
            service.stop()


def chosen(
    services: Iterable[Service], profile: str | None, profiles: Mapping[str, Sequence[str]]
) -> list[Service]:
    """Return the services of a profile.

    Args:
        services: All there are.
        profile: Its name, or None for all services.
        profiles: Names of services or of the groups they belong to (a domain of handlers), or
            patterns such as ``consumer:*``, by profile.

    Raises:
        ConfigError: There is no such profile.
    """
    if profile is None:
        return list(services)
    if profile not in profiles:
        raise ConfigError(f"no profile {profile!r}: profiles= has {', '.join(profiles) or 'none'}")
    return [
        service
        for service in services
        if any(_is_named(service, pattern) for pattern in profiles[profile])
    ]


def _is_named(service: Service, pattern: str) -> bool:
    group = getattr(service, "group", "")
    return fnmatchcase(service.name, pattern) or bool(group and fnmatchcase(group, pattern))
