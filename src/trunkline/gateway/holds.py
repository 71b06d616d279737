"""Which client holds which poll: one held connection per client id and process."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from trunkline.gateway.connection import Connection
from trunkline.model.identity import Id, Viewer


class HoldKey(NamedTuple):
    """Identify a client; its id alone would let a stranger who learns it end its polls."""

    site_id: str | None
    user_id: Id | None
    client_id: str | None


class Holds:
    """Keep the held polls by client.

    A client that polls anew ends its earlier poll, unless that has a higher number: then the
    newcomer is the old one, delayed on its way, and ends itself. What ends is the connection that
    was asked for, never whichever is there under the same id by then.
    """

    def __init__(self) -> None:
        self._held: dict[HoldKey, tuple[Connection, int]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def claim(self, connection: Connection, seq: int) -> bool:
        """Let a connection be its client's held poll.

        Args:
            connection: The newcomer.
            seq: The number of its request.

        Returns:
            Whether it is; if not, it should end.
        """
        key = key_of(connection.viewer)
        present = self._held.get(key)
        if present is not None:
            if present[1] > seq:
                return False
            present[0].end("done")
        self._held[key] = (connection, seq)
        connection.when_ended(partial(self._forget, key, seq))
        return True

    def _forget(self, key: HoldKey, seq: int) -> None:
        present = self._held.get(key)
        if present is not None and present[0].has_ended and present[1] == seq:
            del self._held[key]


def key_of(viewer: Viewer) -> HoldKey:
    """Return the key of a client."""
    identity = viewer.identity
    return HoldKey(identity.site_id, identity.user_id, viewer.client_id)
