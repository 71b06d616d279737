"""What one client is told of who comes and who leaves: never a queue, only what is different."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trunkline.channels.presence import Presences
from trunkline.channels.presence_state import Place
from trunkline.errors import LimitExceededError
from trunkline.gateway.access import Gatekeeper
from trunkline.gateway.connection import Connection
from trunkline.gateway.switchboard import Switchboard
from trunkline.model.channel import ChannelKey, channel_key
from trunkline.wire.presence import Attended, Following, Id, Member, Moved, PresencePush
from trunkline.wire.start import Refusal

Say = Callable[[PresencePush], bytes]


class PresenceTalk:
    """Tell one client who is on the channels it follows.

    Args:
        presences: Knows who is where.
        gatekeeper: Says which channels the client may read; no others are told of.
        board: Holds the connection.
        connection: The client's.
        say: Writes a push as the connection's protocol has it.
    """

    __slots__ = (
        "_board", "_connection", "_ends", "_gatekeeper", "_pending", "_presences", "_say", "_told",
        "is_queued",
    )  # fmt: skip

    def __init__(
        self,
        presences: Presences,
        gatekeeper: Gatekeeper,
        board: Switchboard,
        connection: Connection,
        say: Say,
    ) -> None:
        self._presences = presences
        self._gatekeeper = gatekeeper
        self._board = board
        self._connection = connection
        self._say = say
        self._ends: dict[ChannelKey, Callable[[], None]] = {}
        self._told: dict[ChannelKey, dict[Place, None]] = {}
        self._pending: dict[ChannelKey, None] = {}
        self.is_queued = False
        connection.riders = (*connection.riders, self)
        connection.when_ended(self._close)

    def _close(self) -> None:
        self._drop(tuple(self._ends))
        self._connection.riders = ()

    # -- what the client says -----------------------------------------------------------------

    async def follow(self, request_id: Id, names: Iterable[str], *, most: int) -> None:
        """Tell who is on channels, and from then on who comes and who leaves.

        Args:
            request_id: Of the request.
            names: Which channels.
            most: How many one client may follow.

        Raises:
            LimitExceededError: There are too many.
            LogError: The log cannot be read.
        """
        identity = self._connection.viewer.identity
        split = await self._gatekeeper.split(identity, names)
        keys = [channel_key(name, identity.site_id) for name in split.granted]
        if len({*self._ends, *keys}) > most:
            raise LimitExceededError("max_subscriptions", most, status=400)
        attended = [await self._begin(key) for key in keys]
        if self._connection.has_ended:
            self._close()
            return
        self._connection.reply(self._say(Following(request_id, attended, split.refused)))
        self.on_writable()

    async def _begin(self, key: ChannelKey) -> Attended:
        if key not in self._ends:
            self._ends[key] = self._presences.hear(key, lambda _: self._on_change(key))
        self._told.pop(key, None)  # what changes meanwhile is in the answer
        await self._presences.members(key)
        told = dict.fromkeys(self._presences.known(key))
        self._told[key] = told
        return Attended(key.name, members_of(told))

    def unfollow(self, names: Iterable[str]) -> list[str]:
        """Tell no longer of channels, and return those that were told of."""
        site_id = self._connection.viewer.identity.site_id
        keys = [key for name in names if (key := channel_key(name, site_id)) in self._ends]
        self._drop(keys)
        return [key.name for key in keys]

    def _drop(self, keys: Iterable[ChannelKey]) -> None:
        for key in keys:
            self._ends.pop(key)()
            self._told.pop(key, None)
            self._pending.pop(key, None)

    # -- what the client is told --------------------------------------------------------------

    def _on_change(self, key: ChannelKey) -> None:
        self._pending[key] = None
        self.on_writable()

    def on_writable(self) -> None:
        """Go on where it stands."""
        if self._pending and self._connection.sink.is_writable:
            self._board.pump.schedule(self)

    def on_renewal(self) -> None:
        """Ask again which channels the client may know of: it has a new identity."""
        self._board.crew.start("presence renewal", self._check_again())

    async def _check_again(self) -> None:
        names = [key.name for key in self._ends]
        if not names:
            return
        split = await self._gatekeeper.split(self._connection.viewer.identity, names)
        refused: list[Refusal] = split.refused
        if refused and not self._connection.has_ended:
            self.unfollow([one.channel for one in refused])
            self._connection.reply(self._say(Following(None, [], refused)))
        self.on_writable()  # changes have waited while it was not known who listens

    def step(self, until: float) -> bool:  # noqa: ARG002 - one write is short
        """Write what is different now, if the client can be written to."""
        connection = self._connection
        if connection.has_ended or not connection.sink.is_writable:
            return False
        if self._gatekeeper.is_expired(connection.viewer.identity):
            return False
        pending, self._pending = self._pending, {}
        connection.write([frame for key in pending for frame in self._news(key)])
        return False

    def _news(self, key: ChannelKey) -> list[bytes]:
        told = self._told.get(key)
        if told is None:
            return []
        now = dict.fromkeys(self._presences.known(key))
        joined = [place for place in now if place not in told]
        left = [place for place in told if place not in now]
        self._told[key] = now
        if not joined and not left:
            return []
        moved = Moved(channel=key.name, joined=members_of(joined), left=members_of(left))
        return [self._say(moved)]


def members_of(places: Iterable[Place]) -> list[Member]:
    """Return places as clients are told of them."""
    return [Member(place.client_id, place.user_id) for place in places]
