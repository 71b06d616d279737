"""The courier: claims what is due, sends it, and records what became of it, in batches.

One loop takes turns: a turn is one transaction that records what ended since the last one, and
claims what may be begun. Requests go on meanwhile, and no transaction is open while one does.
What a turn could not record is kept and recorded by the next one; until then nothing new is
claimed, so that what is kept is bounded by the requests under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from trunkline.runtime.clock import Clock, jitter
from trunkline.runtime.loops import Backoff
from trunkline.sql.database import Transaction
from trunkline.webhooks.attempting import Attempting
from trunkline.webhooks.breaker import disable, fail, succeed
from trunkline.webhooks.claims import WAITING, Claim, Endpoint, Notice, Outcome
from trunkline.webhooks.delivery_options import DeliveryOptions
from trunkline.webhooks.delivery_table import DeliveryTable
from trunkline.webhooks.fairness import Fairness, Rooms, Runtime
from trunkline.webhooks.outgoing import Prepare, PrepareBatch
from trunkline.webhooks.seam import SENT
from trunkline.webhooks.tally import Tally

logger = logging.getLogger("trunkline.webhooks")

#: Seconds between two looks whether somebody queued something, and the pace of busy turns.
TICK = 0.01
#: Seconds between two looks at all lanes, while nobody says that something is new.
LOOK_EVERY = 0.25
#: Of the time, a look at all lanes takes a tenth at most, unless that would be a tick or more.
LOOK_REST = 9.0
#: Seconds between two looks at the endpoints, and at what waits for another one with its key.
RENEW_EVERY = 1.0
WAKE_EVERY = 5.0
#: Lanes that one look finds at most; the next look goes on from there.
LANES = 5000
#: Rows that one sweep gives up.
SWEPT = 1000
#: Seconds after which a success is written again though nothing changed.
SAVE_EVERY = 5.0
#: Seconds that making a payload may take.
PREPARE_WITHIN = 30.0

Notify = Callable[[Notice], Awaitable[None]]


class Courier:
    """Deliver what one store has queued; several processes may do so at once.

    Args:
        table: What is queued.
        attempting: Makes attempts.
        prepare: Makes requests out of what was claimed.
        options: How this process delivers.
        clock: Tells the time.
        notify: Told of endpoints that fail for long or were disabled.
    """

    name = "webhooks"

    def __init__(
        self,
        table: DeliveryTable,
        attempting: Attempting,
        *,
        prepare: PrepareBatch,
        options: DeliveryOptions,
        clock: Clock,
        notify: Notify,
    ) -> None:
        self._table = table
        self._database = table.database
        self._outlet = attempting.outlet
        self._attempting = attempting
        self._prepare = prepare
        self._options = options
        self._clock = clock
        self._notify = notify
        self.tally = Tally()
        self._fairness = Fairness(options.concurrency, options.slow_share, options.host_concurrency)
        self._outcomes: list[Outcome] = []
        self._most = options.batch
        self._unsaved: set[str] = set()
        self._notices: list[Notice] = []
        self._released: list[Claim] = []
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._is_poked = True
        self._after = ("", "")
        self._newest = -1
        self._looked_at = self._renewed_at = self._waked_at = float("-inf")
        self._next_due = 0.0
        #: Seconds until the next look, at least, and whether the last plan had anybody to serve.
        self._rest = 0.0
        self._is_serving = False

    def poke(self) -> None:
        """Look at once whether something is due."""
        self._is_poked = True
        self._woken.set()

    def stop(self) -> None:
        """Have :meth:`run` claim nothing more, record what is under way, and return."""
        self._is_stopping = True
        self._woken.set()

    async def close(self) -> None:
        """Let the connections to endpoints go. Idempotent."""
        await self._outlet.close()

    async def run(self) -> None:
        """Deliver until stopped."""
        backoff = Backoff(first=0.05, limit=5.0)
        await self._outlet.open()
        async with asyncio.TaskGroup() as group:
            while not self._is_done():
                try:
                    is_busy = await self._turn(group)
                except Exception as error:  # noqa: BLE001 - also the driver's own errors
                    delay = backoff.next_delay()
                    logger.warning("%s: %s; again in %.1f s", self.name, error, delay)
                    await asyncio.sleep(delay)
                else:
                    backoff.succeed()
                    await self._pause(is_busy=is_busy)

    def _is_done(self) -> bool:
        waits = self._outcomes or self._released or self._fairness.in_flight
        return self._is_stopping and not waits

    async def _pause(self, *, is_busy: bool) -> None:
        if is_busy and self._fairness.lively > 0:
            await asyncio.sleep(TICK / 2)  # so that several outcomes share a transaction
            return
        delay = TICK
        if self._is_poked and not self._is_stopping:
            delay = min(TICK, self._looked_at + self._rest - self._clock.monotonic())
        if self._outcomes or delay <= 0:
            return
        # A loop's timers count milliseconds: less would be none, and turn after turn.
        timer = asyncio.get_running_loop().call_later(max(0.001, delay), self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
            self._woken.clear()

    # -- turns --------------------------------------------------------------------------------

    async def _turn(self, group: asyncio.TaskGroup) -> bool:
        """Record and claim; tell whether there was anything to do."""
        if not self._is_stopping:
            await self._look_in_time()
        now, unix = self._clock.monotonic(), self._clock.now()
        rooms = {} if self._is_stopping else self._fairness.plan(self._options.batch, now, unix)
        self._is_serving = bool(rooms)
        outcomes, self._outcomes = self._outcomes[: self._most], self._outcomes[self._most :]
        if not (rooms or outcomes or self._released or self._unsaved):
            return False
        try:
            claims = await self._transact(outcomes, rooms, unix)
        except BaseException:
            # Fewer next time, and the rest before a single one: should one of them be what the
            # store can't take, the others are recorded without it.
            self._most = max(1, len(outcomes) // 2)
            at = 0 if len(outcomes) > 1 else len(self._outcomes)
            self._outcomes[at:at] = outcomes
            raise
        self._most = min(self._options.batch, self._most * 2)
        if claims:
            began = [(one.transmission.endpoint_id, one.transmission.seq) for one in claims]
            self._fairness.begin(began, now)
            group.create_task(self._begin(group, claims))
        notices, self._notices = self._notices, []
        for notice in notices:
            group.create_task(self._tell(notice))
        return True

    async def _transact(
        self, outcomes: Sequence[Outcome], rooms: Rooms, unix: float
    ) -> Sequence[Claim]:
        unsaved, released = tuple(self._unsaved), tuple(self._released)
        claims: Sequence[Claim] = ()
        found: Rooms = {}
        async with self._database.transaction() as tx:
            if outcomes:
                await self._table.record(tx, outcomes, unix)
            await self._save(tx, unsaved, unix)
            if released:
                await self._table.release(tx, released, unix)
            if rooms:
                until = unix + self._options.lease
                claims, found = await self._table.claim(tx, rooms, now=unix, until=until)
        self._unsaved.difference_update(unsaved)
        del self._released[: len(released)]
        self._fairness.settle(rooms, found)
        return claims

    async def _save(self, tx: Transaction, unsaved: Sequence[str], unix: float) -> None:
        for name in sorted(unsaved):  # in one order everywhere, so that processes can't deadlock
            runtime = self._fairness.find(name)
            if runtime is not None:
                await self._table.set_health(tx, runtime.endpoint, unix)

    # -- looking ------------------------------------------------------------------------------

    async def _look_in_time(self) -> None:
        now, unix = self._clock.monotonic(), self._clock.now()
        since = now - self._looked_at
        is_due = self._is_poked or unix >= self._next_due or since >= LOOK_EVERY
        if not is_due and not self._is_serving:  # be it that what is queued can't be sent now
            newest = await self._table.newest()
            is_due, self._newest = newest != self._newest, newest
            self._is_poked = self._is_poked or is_due  # remembered where it is too early to look
        if is_due and since >= self._rest:
            await self._look(now)

    async def _look(self, now: float) -> None:
        self._is_poked, self._looked_at = False, now
        self._newest = await self._table.newest()  # before, so that what comes after is news
        lanes = await self._table.look(self._after, LANES)
        unix = self._clock.now()  # what was queued during the look is due as well
        self._rest = min(TICK, max(TICK / 10, LOOK_REST * (self._clock.monotonic() - now)))
        last = lanes[-1] if len(lanes) == LANES else None
        self._after = ("", "") if last is None else (last.endpoint_id, last.tenant)
        if last is not None:
            self._is_poked = True  # there are more lanes than one look finds
        await self._know({one.endpoint_id for one in lanes}, now)
        self._next_due = min((one.due_at for one in lanes if one.due_at > unix), default=WAITING)
        for lane in lanes:
            if lane.due_at <= unix:
                runtime = self._fairness.find(lane.endpoint_id)
                if runtime is None:
                    await self._give_up(lane.endpoint_id, "its endpoint was removed", unix)
                elif not runtime.endpoint.health.is_enabled:
                    await self._give_up(lane.endpoint_id, "its endpoint is disabled", unix)
                else:
                    self._fairness.add(lane)
        if now - self._waked_at >= WAKE_EVERY:
            self._waked_at = now
            await self._table.wake_sleepers(unix, LANES)

    async def _know(self, ids: set[str], now: float) -> None:
        if now - self._renewed_at >= RENEW_EVERY:
            self._renewed_at = now
            self._fairness.forget_idle()
            wanted = ids
        else:
            wanted = {one for one in ids if self._fairness.find(one) is None}
        if wanted:
            found = await self._table.endpoints(sorted(wanted))
            self._fairness.learn((one for one in found if one.id not in self._unsaved), now)

    async def _give_up(self, endpoint_id: str, reason: str, unix: float) -> None:
        await self._table.sweep(endpoint_id, reason, now=unix, limit=SWEPT)

    # -- sending ------------------------------------------------------------------------------

    async def _begin(self, group: asyncio.TaskGroup, claims: Sequence[Claim]) -> None:
        try:
            async with asyncio.timeout(PREPARE_WITHIN):
                prepare = await self._prepare([one.transmission for one in claims])
        except Exception:
            logger.exception("%s: what was claimed can't be prepared; it goes back", self.name)
            for claim in claims:
                self._fairness.end(claim.transmission.endpoint_id, claim.transmission.seq)
            await asyncio.sleep(jitter(1.0))
            self._released += claims
            self._woken.set()
            return
        for claim in claims:
            group.create_task(self._deliver(claim, prepare))

    async def _deliver(self, claim: Claim, prepare: Prepare) -> None:
        sent = claim.transmission
        runtime = self._fairness.find(sent.endpoint_id)
        try:
            if runtime is not None:
                outcome = await self._attempting.make(claim, runtime.endpoint, prepare)
                self._learn(runtime, outcome)
                self._outcomes.append(outcome)
        except Exception:  # nothing that one delivery does may end the others
            logger.exception("%s: delivery %s failed", self.name, sent.id)
            self._released.append(claim)
        finally:
            self._fairness.end(sent.endpoint_id, sent.seq)
            self._woken.set()

    def _learn(self, runtime: Runtime, outcome: Outcome) -> None:
        """Learn from an outcome how the endpoint fares."""
        self.tally.count(outcome)
        if outcome.attempt is None:
            return
        now, unix = self._clock.monotonic(), self._clock.now()
        before = runtime.endpoint.health
        if outcome.state == SENT:
            runtime.window.widen(len(runtime.begun))
            health = succeed(before, unix)
            changed = before.failures > 0 or not 0 <= unix - runtime.saved_at < SAVE_EVERY
        else:
            if outcome.is_trouble:
                runtime.window.narrow(now)
            if outcome.attempt.outcome in {"payload", "hook"}:
                return  # not the endpoint's doing
            options = runtime.endpoint.options
            health = fail(
                before,
                unix,
                disable_after=options.disable_after,
                factor=jitter(1.0, spread=0.2),
                pause=outcome.pause,
            )
            if outcome.gone and health.is_enabled:
                health = disable(health, unix, "it answered 410 Gone")
            changed = True
        runtime.fare(health)
        if changed:
            runtime.saved_at = unix
            self._unsaved.add(runtime.endpoint.id)
        if health.notice > before.notice:
            self._notices.append(
                Notice(
                    endpoint=runtime.endpoint,
                    percent=health.notice,
                    reason=health.disabled_reason,
                )
            )

    async def _tell(self, notice: Notice) -> None:
        endpoint = notice.endpoint
        if notice.reason is None:
            logger.warning(
                "endpoint %s fails: %d %% to being disabled", endpoint.id, notice.percent
            )
        else:
            logger.warning("endpoint %s is disabled: %s", endpoint.id, notice.reason)
        try:
            await self._notify(notice)
        except Exception:
            logger.exception("the notice of endpoint %s could not be given", endpoint.id)

    # -- at once ------------------------------------------------------------------------------

    async def transmit(self, ids: Sequence[str]) -> None:
        """Claim those of these delivery ids that are queued, due or not, and try each once.

        The outcome is recorded; nothing that a receiver or a payload does is raised.
        """
        await self._outlet.open()
        unix = self._clock.now()
        async with self._database.transaction() as tx:
            until = unix + self._options.lease
            claims = await self._table.claim_these(tx, ids, now=unix, until=until)
        if not claims:
            return
        names = sorted({one.transmission.endpoint_id for one in claims})
        endpoints = {one.id: one for one in await self._table.endpoints(names)}
        prepare = await self._prepare([one.transmission for one in claims])
        async with asyncio.TaskGroup() as group:
            made = [group.create_task(self._attempt(one, endpoints, prepare)) for one in claims]
        outcomes = [task.result() for task in made]
        async with self._database.transaction() as tx:
            await self._table.record(tx, outcomes, self._clock.now())

    async def _attempt(
        self, claim: Claim, endpoints: dict[str, Endpoint], prepare: Prepare
    ) -> Outcome:
        endpoint = endpoints.get(claim.transmission.endpoint_id)
        if endpoint is None:
            return Outcome(claim=claim, state="dead", error="its endpoint was removed")
        outcome = await self._attempting.make(claim, endpoint, prepare)
        self.tally.count(outcome)
        return outcome
