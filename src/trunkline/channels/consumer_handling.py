"""Running a consumer's handler over a page, so that one bad message costs only its own key.

A handler that takes the transaction shares one with the page's checkpoint. A page that fails is
rolled back and run again with a savepoint for each message, which tells the culprit; when even
that fails (a message may break the transaction itself), each message gets one of its own.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from trunkline.channels.catchup import Arrival
from trunkline.channels.consumer import Consumer
from trunkline.channels.consumer_decisions import KEY_LENGTH, clean, fail, set_aside
from trunkline.channels.consumer_ledger import Ledger
from trunkline.errors import ConflictError, LeaseLostError
from trunkline.model.message import Record, message_of
from trunkline.model.position import Position
from trunkline.store.consumer_table import Standing
from trunkline.store.parked_table import ParkedMessage

logger = logging.getLogger("trunkline.channels")

#: Seconds after which a page is committed as far as it came: others may wait for its locks, and
#: a crash repeats what was not committed.
BUDGET = 0.05
#: How often in a row a message may break its own transaction before it counts as failed.
STRIKES = 3


class Care(IntEnum):
    """Say how carefully a page is run."""

    WHOLE = 0
    SAVEPOINTS = 1
    ALONE = 2


class HandlerError(Exception):
    """Carry what a handler raised past whatever else may fail around it."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Progress:
    """Gather what has become of a page so far.

    Args:
        start: Where it began.
        blocked: The keys whose messages wait, before it.
    """

    def __init__(self, start: Position, blocked: set[str]) -> None:
        self.position = start
        self.blocked = set(blocked)
        self.parked: list[ParkedMessage] = []

    def pass_by(self, record: Record) -> None:
        """Be done with a message, one way or the other."""
        self.position = Position(self.position.epoch, record.global_id)

    def park(self, one: ParkedMessage) -> None:
        """Set a message aside, and have its key's others wait."""
        self.parked.append(one)
        self.blocked.add(one.key)

    def moved(self, standing: Standing, arrival: Arrival) -> Standing:
        """Return the standing after this much of a page."""
        is_whole = self.position.global_id >= arrival.records[-1].global_id
        position = arrival.position if is_whole else self.position
        return msgspec.structs.replace(standing, position=position)


class Handling:
    """Run one consumer's handler.

    Args:
        consumer: Whose.
        ledger: Commits.
        is_stopping: Asked between messages whether to commit and end.

    Attributes:
        blocked: The keys whose messages wait.
    """

    def __init__(self, consumer: Consumer, ledger: Ledger, is_stopping: Callable[[], bool]) -> None:
        self.blocked: set[str] = set()
        self._consumer = consumer
        self._ledger = ledger
        self._is_stopping = is_stopping
        self._care = Care.WHOLE
        self._until = 0.0
        self._begun = 0
        self._strikes = 0

    async def run(self, arrival: Arrival, standing: Standing) -> Standing:
        """Handle a page, or as much of it as there is time for.

        Args:
            arrival: Its messages, one at least.
            standing: Where the consumer stands.

        Returns:
            Where it stands then, committed.

        Raises:
            LeaseLostError: Somebody else has decided; what was not committed yet never is.
            Exception: The store failed, likewise.
        """
        while True:
            self._until = self._ledger.clock.monotonic() + BUDGET
            try:
                standing = await self._run(arrival, standing)
            except LeaseLostError:
                raise
            except HandlerError:
                self._care = Care.SAVEPOINTS  # only a page that ran as a whole lets it out
            except Exception:
                self._care = Care(min(Care.ALONE, self._care + 1))
                raise
            else:
                self._care = Care.WHOLE
                return standing

    async def _run(self, arrival: Arrival, standing: Standing) -> Standing:
        if not self._consumer.takes_tx:
            progress = await self._run_freely(arrival.records, standing)
            new = progress.moved(standing, arrival)
            new = await self._ledger.save(new, progress.parked, is_page=True)
        elif self._care is Care.ALONE:
            return await self._run_alone(arrival, standing)
        else:
            progress = Progress(standing.position, self.blocked)
            async with self._ledger.transact() as tx:
                await self._run_within(tx, arrival.records, progress)
                new = progress.moved(standing, arrival)
                new = await self._ledger.commit(tx, new, progress.parked)
        self.blocked = progress.blocked
        return new

    async def put_first_aside(self, arrival: Arrival, standing: Standing) -> Standing:
        """Set the first message of a page aside, to be tried by itself, each try counted before.

        Args:
            arrival: The page, of which somebody before us may have died.
            standing: Where the consumer stands.

        Returns:
            Where it stands then, committed.

        Raises:
            LeaseLostError: Somebody else has decided; nothing is committed.
        """
        record = arrival.records[0]
        progress = Progress(standing.position, self.blocked)
        if not self._goes_behind(record, progress):
            epoch, now = progress.position.epoch, self._ledger.clock.now()
            key = key_of(self._consumer, record, epoch)
            one = set_aside(record, epoch, key=key, now=now)
            progress.park(msgspec.structs.replace(one, due_at=0.0))
        progress.pass_by(record)
        new = progress.moved(standing, arrival)
        new = await self._ledger.save(new, progress.parked, is_page=True)
        self.blocked = progress.blocked
        return new

    # -- the ways to run a page ---------------------------------------------------------------

    async def _run_within(self, tx: Any, records: Sequence[Record], progress: Progress) -> None:
        if self._care is Care.WHOLE and self._consumer.batch is not None:
            await self._together(records, progress, tx)
        elif self._care is Care.WHOLE:
            await self._each(records, progress, lambda one: self._call([one], progress, tx))
        else:
            await self._each(records, progress, lambda one: self._guarded(one, progress, tx))

    async def _run_freely(self, records: Sequence[Record], standing: Standing) -> Progress:
        """Handle without a transaction: what failed is known at once."""
        progress = Progress(standing.position, self.blocked)
        if self._consumer.batch is not None:
            try:
                await self._together(records, progress, None)
            except HandlerError:
                progress = Progress(standing.position, self.blocked)
            else:
                return progress
        await self._each(records, progress, lambda one: self._guarded(one, progress, None))
        return progress

    async def _run_alone(self, arrival: Arrival, standing: Standing) -> Standing:
        for record in arrival.records:
            progress = Progress(standing.position, self.blocked)
            progress.pass_by(record)
            standing = await self._alone(record, progress, progress.moved(standing, arrival))
            self.blocked = progress.blocked
            if self._is_over():
                break
        return standing

    async def _alone(self, record: Record, progress: Progress, new: Standing) -> Standing:
        if not self._goes_behind(record, progress):
            self._begun = 0
            try:
                async with self._ledger.transact() as tx:
                    self._begun = record.global_id
                    await self._call([record], progress, tx)
                    return await self._ledger.commit(tx, new)
            except LeaseLostError:
                raise
            except Exception as error:
                if self._may_be_an_outage(error):
                    raise
                self._park(record, progress, error)
        return await self._ledger.save(new, progress.parked, is_page=True)

    def _may_be_an_outage(self, error: Exception) -> bool:
        """Tell whether the store, rather than the message, is to blame for an error."""
        if isinstance(error, HandlerError | ConflictError):
            return False
        self._strikes = self._strikes + 1 if self._begun else 0
        if self._strikes < STRIKES:
            return True
        self._strikes = 0
        return False

    async def _each(
        self,
        records: Sequence[Record],
        progress: Progress,
        handle: Callable[[Record], Awaitable[None]],
    ) -> None:
        for record in records:
            if not self._goes_behind(record, progress):
                await handle(record)
            progress.pass_by(record)
            if self._is_over():
                return

    async def _together(self, records: Sequence[Record], progress: Progress, tx: Any) -> None:
        wanted = [record for record in records if not self._goes_behind(record, progress)]
        if wanted:
            await self._call(wanted, progress, tx)
        progress.pass_by(records[-1])

    async def _guarded(self, record: Record, progress: Progress, tx: Any) -> None:
        try:
            if tx is None:
                await self._call([record], progress, None)
            else:
                async with tx.savepoint():
                    await self._call([record], progress, tx)
        except HandlerError as error:
            self._park(record, progress, error)

    def _is_over(self) -> bool:
        return self._is_stopping() or self._ledger.clock.monotonic() >= self._until

    # -- one message --------------------------------------------------------------------------

    async def _call(self, records: Sequence[Record], progress: Progress, tx: Any) -> None:
        await call(self._consumer, records, progress.position.epoch, tx)

    def _goes_behind(self, record: Record, progress: Progress) -> bool:
        """Set a message aside if one of its key waits already."""
        if not progress.blocked:
            return False
        epoch = progress.position.epoch
        key = key_of(self._consumer, record, epoch)
        if key not in progress.blocked:
            return False
        progress.park(set_aside(record, epoch, key=key, now=self._ledger.clock.now()))
        return True

    def _park(self, record: Record, progress: Progress, error: Exception) -> None:
        cause = error.cause if isinstance(error, HandlerError) else error
        epoch, now = progress.position.epoch, self._ledger.clock.now()
        key = key_of(self._consumer, record, epoch)
        one = fail(set_aside(record, epoch, key=key, now=now), cause, self._consumer, now=now)
        progress.park(one)
        tell(self._consumer, one, cause)


async def call(consumer: Consumer, records: Sequence[Record], epoch: str, tx: Any) -> None:
    """Call a consumer's handler.

    Args:
        consumer: Whose.
        records: One message, or those of a list.
        epoch: The line's epoch they were read under.
        tx: The transaction, for a handler that takes one.

    Raises:
        HandlerError: It raised, or a message can't be decoded.
    """
    try:
        messages = records if consumer.is_raw else [message_of(one, epoch) for one in records]
        given = messages[0] if consumer.batch is None else messages
        answer = consumer.handler(given, tx) if consumer.takes_tx else consumer.handler(given)
        if inspect.isawaitable(answer):
            await answer
    except Exception as error:
        raise HandlerError(error) from error


def key_of(consumer: Consumer, record: Record, epoch: str) -> str:
    """Return a message's key; its channel when the application's function fails."""
    if consumer.key is not None:
        try:
            return clean(str(consumer.key(message_of(record, epoch))), KEY_LENGTH)
        except Exception:
            logger.exception("the key of a message of %s cannot be found", record.channel)
    return clean(str(record.channel), KEY_LENGTH)


def tell(consumer: Consumer, one: ParkedMessage, error: Exception) -> None:
    """Report that a handler failed."""
    outlook = "parked" if one.due_at is None else "it is tried again"
    logger.warning(
        "consumer %s failed on message %d of %s (attempt %d, %s)",
        consumer.name,
        one.record.message_id,
        one.record.channel,
        one.attempts,
        outlook,
        exc_info=error,
    )
