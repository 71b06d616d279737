"""Taking back what was granted: live connections end, in every process of the line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from trunkline.channels.bus import Bus
from trunkline.errors import UsageError
from trunkline.gateway.intercom import REVOKE, Intercom
from trunkline.model.identity import Id, Viewer
from trunkline.runtime.clock import Clock

Hits = Callable[[Viewer], bool]

REMEMBERED: Final = 1000
REMEMBERED_FOR: Final = 300.0


class Revocation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Name the connections that lose their rights: those for which all that is given holds.

    Args:
        user_id: Of this user.
        client_id: With this client id.
        site_id: On this site.
        group_id: Of members of this group.
    """

    user_id: Id | None = None
    client_id: str | None = None
    site_id: str | None = None
    group_id: Id | None = None

    def hits(self, viewer: Viewer) -> bool:
        """Tell whether a viewer loses its rights; ids compare as strings."""
        identity = viewer.identity
        return (
            _same(self.user_id, identity.user_id)
            and _same(self.client_id, viewer.client_id)
            and _same(self.site_id, identity.site_id)
            and (self.group_id is None or str(self.group_id) in map(str, identity.group_ids))
        )


def _same(wanted: Id | None, given: Id | None) -> bool:
    return wanted is None or (given is not None and str(wanted) == str(given))


class Revoker:
    """Revoke, from any process that can publish; no gateway need run in it.

    Args:
        bus: Publishes.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def revoke(
        self,
        *,
        user_id: Id | None = None,
        client_id: str | None = None,
        site_id: str | None = None,
        group_id: Id | None = None,
    ) -> None:
        """End the live connections for which all that is given holds, in every process.

        They are told that they were revoked and must ask for access again; so make the hooks
        refuse them first. Nothing else is taken back: what was delivered stays delivered.

        Args:
            user_id: Of this user.
            client_id: With this client id.
            site_id: On this site.
            group_id: Of members of this group.

        Raises:
            UsageError: Nothing is given.
            LogError: It could not be stored; nothing ends.
        """
        revocation = Revocation(
            user_id=user_id, client_id=client_id, site_id=site_id, group_id=group_id
        )
        if revocation == Revocation():
            raise UsageError("say whom to revoke: user_id=, client_id=, site_id= or group_id=")
        await self._bus.publish_internal(REVOKE, msgspec.to_builtins(revocation))


class Revocations:
    """Hear revocations in this process, and end what they hit.

    Args:
        end: Ends the connections of the viewers for which a function is true.
        end_all: Ends all, because a revocation may have been missed; they come back at once and
            are asked who they are.
        clock: Tells the time.
    """

    def __init__(
        self,
        end: Callable[[Hits], None],
        end_all: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._end = end
        self._end_all = end_all
        self._clock = clock
        self._recent: deque[tuple[float, Revocation]] = deque(maxlen=REMEMBERED)

    def listen(self, intercom: Intercom) -> None:
        """Have revocations heard."""
        intercom.on(REVOKE, self.hear, on_loss=self._end_all)

    def hear(self, data: Any) -> None:
        """Apply a revocation as it was published."""
        revocation = msgspec.convert(data, Revocation)
        if revocation == Revocation():
            return
        now = self._clock.monotonic()
        while self._recent and self._recent[0][0] < now - REMEMBERED_FOR:
            self._recent.popleft()
        self._recent.append((now, revocation))
        self._end(revocation.hits)

    def hit_since(self, viewer: Viewer, since: float) -> bool:
        """Tell whether a viewer was revoked while its connection was being made.

        Args:
            viewer: Who.
            since: When its identity was asked for, monotonic seconds.
        """
        recent: Iterable[tuple[float, Revocation]] = reversed(self._recent)
        for heard_at, revocation in recent:
            if heard_at < since:
                return False
            if revocation.hits(viewer):
                return True
        return False
