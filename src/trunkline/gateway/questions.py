"""Access to channels met through a pattern: asked once per identity and channel, then kept."""

from __future__ import annotations

import logging
from typing import Final

from trunkline.gateway.access import Gatekeeper
from trunkline.gateway.connection import Board, Connection, State
from trunkline.model.identity import Identity

logger = logging.getLogger("trunkline.gateway")

WORKERS: Final = 16


class Questions:
    """Ask the access hook for connections that cannot go on without its answer.

    Args:
        board: Where connections go on.
        gatekeeper: Asks and remembers.
    """

    def __init__(self, board: Board, gatekeeper: Gatekeeper) -> None:
        self._board = board
        self._gatekeeper = gatekeeper
        self._open: dict[tuple[Identity, str], list[Connection]] = {}
        self._busy = 0

    def ask(self, connection: Connection, name: str) -> None:
        """Ask whether *connection* may read a channel; it waits, idle, for the answer."""
        key = (connection.viewer.identity, name)
        self._open.setdefault(key, []).append(connection)
        if self._busy < WORKERS:
            self._busy += 1
            self._board.crew.start("asking for access", self._work())

    async def _work(self) -> None:
        try:
            while self._open:
                (identity, name), connections = self._open.popitem()
                try:
                    await self._gatekeeper.decide(identity, name)
                except Exception:
                    # Without an answer nobody may read, and skipping would be a silent gap.
                    logger.exception(
                        "the access hook failed on %s: its listeners must return", name
                    )
                    for connection in connections:
                        connection.end("shutdown")
                else:
                    self._go_on(connections)
        finally:
            self._busy -= 1

    def _go_on(self, connections: list[Connection]) -> None:
        for connection in connections:
            if connection.state is State.IDLE:
                self._board.advance(connection)
