"""Which clients are seen on which channels: those that read a channel by its name, while they do.

A connection is there from the moment it has subscribed until it ends. Who polls is there between
two polls too: each end of a poll is followed by a time of grace.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Final

from trunkline.channels.presence import Presences
from trunkline.channels.presence_state import Place
from trunkline.gateway.connection import Connection
from trunkline.gateway.crew import Crew
from trunkline.gateway.options import GatewayOptions
from trunkline.model.channel import ChannelKey
from trunkline.model.identity import Viewer
from trunkline.model.pattern import Pattern, channel_pattern

POLLED: Final = frozenset({"streaming", "long-polling"})

FindPresences = Callable[[], Presences]


class Attendance:
    """Keep the line's presence in step with a gateway's clients.

    Args:
        options: The settings; ``presence`` names the channels.
        find: Gives the line's presence, which is opened by the first client that is seen.
        crew: Runs what opens it.
    """

    def __init__(self, options: GatewayOptions, find: FindPresences | None, crew: Crew) -> None:
        self._options = options
        self._find = find
        self._crew = crew
        self._presences: Presences | None = None
        self._here: dict[Connection, frozenset[Place]] = {}
        self._grace: dict[Place, asyncio.TimerHandle] = {}
        self._names: dict[Connection, str] = {}

    def note(self, connection: Connection) -> None:
        """Note that what a connection reads has changed."""
        before = self._here.get(connection, frozenset())
        if not (self._options.presence or before) or connection.has_ended:
            return
        wanted = self._places(connection)
        if wanted == before:
            return
        if not before:
            connection.when_ended(partial(self._forget, connection))
        self._here[connection] = wanted
        presences = self._open()
        for place in wanted - before:
            presences.enter(place)
        for place in before - wanted:
            self._leave(connection, place)

    def visit(self, viewer: Viewer, keys: Iterable[ChannelKey]) -> None:
        """Note a poll that was answered at once."""
        if self._options.presence and viewer.client_id is not None:
            for place in self._seen(viewer.client_id, viewer, keys):
                self._linger(place)

    def close(self) -> None:
        """Have those leave who are there by grace alone."""
        for place, timer in self._grace.items():
            timer.cancel()
            self._open().leave(place)
        self._grace.clear()

    # -- who is there -------------------------------------------------------------------------

    def _places(self, connection: Connection) -> frozenset[Place]:
        viewer = connection.viewer
        client_id = viewer.client_id
        if client_id is None:  # it did not name itself, and counts nevertheless
            client_id = self._names.setdefault(connection, f"~{secrets.token_hex(8)}")
        return self._seen(client_id, viewer, connection.interest.keys)

    def _seen(self, client_id: str, viewer: Viewer, keys: Iterable[ChannelKey]) -> frozenset[Place]:
        patterns = _patterns(self._options.presence)
        user_id = viewer.identity.user_id
        return frozenset(
            Place(key.site_id, key.name, client_id, user_id)
            for key in keys
            if any(pattern.matches(key.name) for pattern in patterns)
        )

    def _forget(self, connection: Connection) -> None:
        for place in self._here.pop(connection, frozenset()):
            self._leave(connection, place)
        self._names.pop(connection, None)

    def _leave(self, connection: Connection, place: Place) -> None:
        if connection.transport in POLLED:
            self._linger(place)
        self._open().leave(place)

    def _linger(self, place: Place) -> None:
        """Have a client be there for the time of grace, from now on."""
        timer = self._grace.pop(place, None)
        if timer is not None:
            timer.cancel()
        else:
            self._open().enter(place)
        loop, grace = asyncio.get_running_loop(), self._options.presence_grace
        self._grace[place] = loop.call_later(grace, self._end_grace, place)

    def _end_grace(self, place: Place) -> None:
        self._grace.pop(place, None)
        self._open().leave(place)

    def _open(self) -> Presences:
        if self._presences is None:
            assert self._find is not None  # noqa: S101 - only a line has the setting
            self._presences = self._find()
            self._crew.start("presence", self._presences.be_ready())
        return self._presences


@lru_cache(maxsize=64)
def _patterns(texts: tuple[str, ...]) -> tuple[Pattern, ...]:
    return tuple(map(channel_pattern, texts))
