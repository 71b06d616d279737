"""Who is served next: tenant after tenant, endpoint after endpoint, lane after lane.

Everything is decided here without waiting, from what this process knows; the store is only told
how many to claim in which lane. An endpoint that can't take more costs nothing until it can.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from trunkline.webhooks.breaker import Health, room_of
from trunkline.webhooks.claims import Endpoint, Lane
from trunkline.webhooks.pacing import Bucket, Window

#: Seconds after which a request under way makes its endpoint a slow one.
SLOW: Final = 2.0
#: Endpoints that one plan looks at.
LOOKED_AT: Final = 1000

#: Requests that may be under way which are younger than this, in seconds: more of them at once
#: would only wait for each other in this process.
YOUNG: Final = 0.03
YOUNG_MOST: Final = 200

Rooms = dict[tuple[str, str], int]


class Batch:
    """Be requests that began together.

    Args:
        began: Monotonic seconds.
    """

    __slots__ = ("began", "left")

    def __init__(self, began: float) -> None:
        self.began = began
        self.left = 0


class Runtime:
    """Be what this process knows of an endpoint.

    Args:
        endpoint: As stored.
        now: Monotonic seconds.
    """

    def __init__(self, endpoint: Endpoint, now: float) -> None:
        self.endpoint = endpoint
        self.host = host_of(endpoint.url)
        self.window = Window(endpoint.options.concurrency)
        self.bucket = self._make_bucket(now)
        self.lanes: deque[str] = deque()
        self.known: set[str] = set()
        #: When each request under way began, by the transmission's number.
        self.begun: dict[int, Batch] = {}
        self.is_queued = False
        #: When its health was stored, Unix seconds: known even if it was forgotten meanwhile.
        self.saved_at = endpoint.health.succeeded_at or 0.0

    def _make_bucket(self, now: float) -> Bucket | None:
        rate = self.endpoint.options.rate
        return None if rate is None else Bucket(rate, now)

    def renew(self, endpoint: Endpoint, now: float) -> None:
        """Take what the store says: somebody may have changed it, or another process fared so."""
        if endpoint.options != self.endpoint.options:
            self.endpoint = endpoint
            self.window.most = endpoint.options.concurrency
            self.bucket = self._make_bucket(now)
        if endpoint.url != self.endpoint.url:
            self.host = host_of(endpoint.url)
        self.endpoint = endpoint

    def fare(self, health: Health) -> None:
        """Know how it fares."""
        self.endpoint = msgspec.structs.replace(self.endpoint, health=health)

    def add_lane(self, tenant: str) -> None:
        """Know that a tenant has something due."""
        if tenant not in self.known:
            self.known.add(tenant)
            self.lanes.append(tenant)

    def drop_lane(self, tenant: str) -> None:
        """Know that a tenant has nothing more due."""
        if tenant in self.known:
            self.known.remove(tenant)
            self.lanes.remove(tenant)

    def room(self, now: float, unix: float) -> int:
        """Return how many more requests it may get now."""
        allowed = room_of(self.endpoint.health, len(self.begun), unix)
        room = self.window.limit - len(self.begun)
        if allowed is not None:
            room = min(room, allowed)
        if self.bucket is not None:
            room = min(room, self.bucket.available(now))
        return room

    def is_slow(self, now: float) -> bool:
        """Tell whether it keeps us waiting."""
        oldest = next(iter(self.begun.values()), None)
        return oldest is not None and now - oldest.began > SLOW


class Fairness:
    """Know all endpoints that have something due, and choose among them.

    Args:
        concurrency: Requests under way at most.
        slow_share: Of these, and of a host's, what slow endpoints may take together.
        per_host: Of these, what one host may take.
    """

    def __init__(self, concurrency: int, slow_share: float, per_host: int) -> None:
        self._most = concurrency
        self._slow_most = int(concurrency * slow_share)
        self._host_most = per_host
        self._host_slow_most = int(per_host * slow_share)
        #: Requests under way to slow endpoints, by host, as the last plan has found them.
        self._slow: Counter[str] = Counter()
        #: Requests under way by the transmission's number: to which host.
        self._bound: dict[int, str] = {}
        self._hosts: Counter[str] = Counter()
        self._known: dict[str, Runtime] = {}
        self._ring: deque[Runtime] = deque()
        self._young: deque[Batch] = deque()
        self.in_flight = 0

    def free(self, now: float) -> int:
        """Return how many more requests may be under way."""
        while self._young and now - self._young[0].began > YOUNG:
            self._young.popleft()
        young = sum(one.left for one in self._young)
        return min(self._most - self.in_flight, YOUNG_MOST - young)

    @property
    def lively(self) -> int:
        """Return how many requests are under way to endpoints that don't keep us waiting."""
        return self.in_flight - self._slow.total()

    def find(self, endpoint_id: str) -> Runtime | None:
        """Return what is known of an endpoint, or None."""
        return self._known.get(endpoint_id)

    def learn(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """Take what the store says of endpoints."""
        for endpoint in endpoints:
            known = self._known.get(endpoint.id)
            if known is None:
                self._known[endpoint.id] = Runtime(endpoint, now)
            else:
                known.renew(endpoint, now)

    def forget_idle(self) -> None:
        """Forget endpoints that have nothing queued and nothing under way."""
        for name, one in tuple(self._known.items()):
            if not one.begun and not one.lanes and not one.is_queued:
                del self._known[name]

    def add(self, lane: Lane) -> None:
        """Know that a lane has something due."""
        runtime = self._known.get(lane.endpoint_id)
        if runtime is not None:
            runtime.add_lane(lane.tenant)
            self._queue(runtime)

    def _queue(self, runtime: Runtime) -> None:
        if not runtime.is_queued and runtime.lanes:
            runtime.is_queued = True
            self._ring.append(runtime)

    def plan(self, limit: int, now: float, unix: float) -> Rooms:
        """Choose whom to serve: one transmission at a time, in turns at all three levels.

        Args:
            limit: How many at most.
            now: Monotonic seconds.
            unix: Unix seconds.

        Returns:
            How many to claim, by endpoint and tenant.
        """
        limit = min(limit, self.free(now))
        groups = self._candidates(now, unix) if limit > 0 else {}
        rooms: Rooms = {}
        planned: Counter[str] = Counter()
        turns = deque(groups.values())
        while turns and limit > 0:
            group = turns.popleft()
            runtime, room = group.popleft()
            if self._hosts[runtime.host] + planned[runtime.host] >= self._host_most:
                if group:
                    turns.append(group)
                continue
            planned[runtime.host] += 1
            tenant = runtime.lanes[0]
            runtime.lanes.rotate(-1)
            lane = (runtime.endpoint.id, tenant)
            rooms[lane] = rooms.get(lane, 0) + 1
            limit -= 1
            if room > 1:
                group.append((runtime, room - 1))
            if group:
                turns.append(group)
        return rooms

    def _candidates(self, now: float, unix: float) -> dict[str, deque[tuple[Runtime, int]]]:
        groups: dict[str, deque[tuple[Runtime, int]]] = {}
        self._slow.clear()
        for one in self._known.values():
            if one.is_slow(now):
                self._slow[one.host] += len(one.begun)
        by_host, left = self._slow.copy(), self._slow_most - self._slow.total()
        for _ in range(min(LOOKED_AT, len(self._ring))):
            runtime = self._ring.popleft()
            if not runtime.lanes:
                runtime.is_queued = False
                continue
            self._ring.append(runtime)
            room = runtime.room(now, unix)
            if room > 0 and runtime.is_slow(now):
                room = max(0, min(room, left, self._host_slow_most - by_host[runtime.host]))
                by_host[runtime.host] += room
                left -= room
            if room > 0:
                groups.setdefault(runtime.endpoint.tenant, deque()).append((runtime, room))
        return groups

    def settle(
        self, rooms: Mapping[tuple[str, str], int], found: Mapping[tuple[str, str], int]
    ) -> None:
        """Learn what a claim found: a lane that gave less than it was asked for is empty."""
        for lane, room in rooms.items():
            runtime = self._known.get(lane[0])
            if runtime is not None and found.get(lane, 0) < room:
                runtime.drop_lane(lane[1])

    def begin(self, claimed: Iterable[tuple[str, int]], now: float) -> None:
        """Know that requests begin, by endpoint and the transmission's number."""
        batch = Batch(now)
        self._young.append(batch)
        for endpoint_id, seq in claimed:
            runtime = self._known.get(endpoint_id)
            self.in_flight += 1
            if runtime is not None:
                batch.left += 1
                self._bound[seq] = runtime.host
                self._hosts[runtime.host] += 1
                runtime.begun[seq] = batch
                if runtime.bucket is not None:
                    runtime.bucket.take(1)

    def end(self, endpoint_id: str, seq: int) -> None:
        """Know that it is over."""
        self.in_flight -= 1
        host = self._bound.pop(seq, None)
        if host is not None:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
        runtime = self._known.get(endpoint_id)
        if runtime is not None:
            batch = runtime.begun.pop(seq, None)
            if batch is not None:
                batch.left -= 1


def host_of(url: str) -> str:
    """Return whom a URL's requests burden: its host, whatever the port."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
