"""What connections need as time passes: heartbeats, an end of the hold, an eye on who is stuck."""

from __future__ import annotations

from typing import Final, cast

from trunkline.gateway.connection import Board, Connection, OnEnd
from trunkline.gateway.options import GatewayOptions
from trunkline.gateway.wheel import Timed, Wheel
from trunkline.runtime.clock import Clock, jitter

#: Seconds an ended connection has to take its last bytes.
GRACE: Final = 5.0
#: Seconds by which the end of a hold is put off while a write is under way.
PATIENCE: Final = 1.0
#: Seconds the application has to say who a connection is whose identity expired.
RENEWAL: Final = 10.0


class Upkeep:
    """Look after connections, each whenever something of it is due.

    Args:
        board: Where they are connected.
        options: The settings, read at each look.
        clock: Tells the time.
    """

    def __init__(self, board: Board, options: GatewayOptions, clock: Clock) -> None:
        self._board = board
        self._options = options
        self._clock = clock
        self._renewing: dict[Connection, OnEnd] = {}
        self._wheel = Wheel(board.pump, clock, self._look)

    def begin(self, connection: Connection, hold: float | None) -> None:
        """Look after a new connection.

        Args:
            connection: The connection.
            hold: Seconds after which it ends; None for ``max_hold``, jittered, so that
                connections even out over processes.
        """
        now = self._clock.monotonic()
        if hold is None:
            hold = jitter(self._options.max_hold, spread=0.2)
        connection.ends_at = now + hold
        connection.since = self._clock.now()
        # The first look comes early by a random part, so that the heartbeats spread.
        self._place(connection, now, jitter(self._pace() * 0.75, spread=1 / 3))

    def finish(self, connection: Connection) -> None:
        """Look after a connection that has ended only until its last bytes are through."""
        self._renewing.pop(connection, None)
        if connection.sink.backlog:
            self._wheel.place(connection, self._clock.monotonic() + GRACE)
        else:
            self._wheel.forget(connection)

    def close(self) -> None:
        """Look after nobody any more."""
        self._wheel.close()

    def _pace(self) -> float:
        return min(self._options.heartbeat_interval, self._options.slow_timeout)

    def _place(self, connection: Connection, now: float, delay: float) -> None:
        at = min(now + delay, connection.ends_at)
        expires_at = connection.viewer.identity.expires_at
        if expires_at is not None:
            at = min(at, now + max(0.0, expires_at - self._clock.now()))
        self._wheel.place(connection, at)

    def _look(self, thing: Timed) -> None:
        connection = cast(Connection, thing)
        if connection.has_ended:
            connection.sink.abort()
            return
        now = self._clock.monotonic()
        if self._has_expired(connection):
            self._expire(connection)
        elif not connection.sink.is_writable:
            self._check_progress(connection, now)
        elif now >= connection.ends_at:
            connection.end("shutdown")
        else:
            self._board.beat(connection)
            if not connection.has_ended:
                self._place(connection, now, self._pace())

    def _has_expired(self, connection: Connection) -> bool:
        expires_at = connection.viewer.identity.expires_at
        return expires_at is not None and expires_at <= self._clock.now()

    def _expire(self, connection: Connection) -> None:
        if connection.expires is None:
            connection.end("expired")
            return
        # Until a new identity is there nothing more is said.
        self._board.hold_back(connection)
        renewal, connection.expires = connection.expires, None
        self._renewing[connection] = renewal
        self._wheel.place(connection, self._clock.monotonic() + RENEWAL)
        renewal()

    def renew(self, connection: Connection) -> None:
        """Go on with a connection whose viewer has a new identity."""
        connection.expires = self._renewing.pop(connection, None)
        if not connection.has_ended:
            self._place(connection, self._clock.monotonic(), self._pace())
            self._board.advance(connection)

    def _check_progress(self, connection: Connection, now: float) -> None:
        backlog = connection.sink.backlog
        stall = connection.stall
        if stall is None or backlog < stall[0]:
            connection.stall = (backlog, now)
        elif now - stall[1] >= self._options.slow_timeout:
            connection.end("slow")
            return
        patience = PATIENCE if now >= connection.ends_at else self._pace()
        self._wheel.place(connection, now + min(patience, self._options.slow_timeout))
