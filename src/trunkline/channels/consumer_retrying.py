"""Trying parked messages again when they are due, and letting those behind them follow.

A try is counted before it begins: a message that kills whoever handles it is parked in the end,
like any other that fails.
"""

from __future__ import annotations

import contextlib
import logging

import msgspec

from trunkline.channels.consumer import Consumer
from trunkline.channels.consumer_decisions import fail
from trunkline.channels.consumer_handling import STRIKES, HandlerError, Handling, call, tell
from trunkline.channels.consumer_ledger import Ledger
from trunkline.errors import ConflictError, LeaseLostError
from trunkline.store.consumer_table import Standing
from trunkline.store.parked_table import ParkedMessage

logger = logging.getLogger("trunkline.channels")

#: Messages tried in a round, before others get their turn.
ROUND = 100
#: Seconds after which the store is asked again, whatever it said: clocks are stepped.
TRUSTED = 5.0


class ProcessEndedError(Exception):
    """Be what a message failed with, unless something else is noted when the try is over."""

    def __init__(self) -> None:
        super().__init__("a try was begun and did not end: it may be what ended the process")


class Retrying:
    """Try one consumer's parked messages, each in a transaction of its own.

    Args:
        consumer: Whose.
        ledger: Commits.
        handling: Knows the keys whose messages wait.
    """

    def __init__(self, consumer: Consumer, ledger: Ledger, handling: Handling) -> None:
        self._consumer = consumer
        self._ledger = ledger
        self._handling = handling
        self._strikes: dict[int, int] = {}
        self._next_at = 0.0

    def look(self) -> None:
        """Look at the next occasion: something was parked, or an operator decided."""
        self._next_at = 0.0

    @property
    def delay(self) -> float:
        """Return the seconds until there is something to try, as far as is known."""
        if not self._handling.blocked:
            return TRUSTED
        return max(0.0, self._next_at - self._ledger.clock.now())

    async def run(self, standing: Standing) -> bool:
        """Try what is due, and tell whether there was anything.

        Args:
            standing: Where the consumer stands.

        Raises:
            LeaseLostError: Somebody else has decided.
            Exception: The store failed.
        """
        if self.delay > 0:
            return False
        due = await self._ledger.due(ROUND)
        for one in due:
            failure = await self._failure(one, standing)
            if failure is not None:
                await self._put_off(one, failure, standing)
            elif not await self._ledger.has_key(one.key):
                self._handling.blocked.discard(one.key)
        if not due:
            now = self._ledger.clock.now()
            next_at = await self._ledger.next_due()
            self._next_at = now + TRUSTED if next_at is None else min(next_at, now + TRUSTED)
        return bool(due)

    async def _failure(self, one: ParkedMessage, standing: Standing) -> Exception | None:
        """Try a message, and return why it failed, or None.

        Raises:
            Exception: It is not the message's fault.
        """
        await self._ledger.put_off(standing, self._begun(one))
        try:
            await self._try(one, standing)
        except LeaseLostError:
            raise
        except HandlerError as error:
            return error.cause
        except Exception as error:
            if isinstance(error, ConflictError) or self._is_out(one):
                return error
            with contextlib.suppress(Exception):  # else it counts as a try that it was not
                await self._ledger.put_off(standing, one)
            raise
        self._strikes.pop(one.seq, None)
        return None

    def _begun(self, one: ParkedMessage) -> ParkedMessage:
        """Return a message as it is if nothing is heard of this try any more."""
        begun = fail(one, ProcessEndedError(), self._consumer, now=self._ledger.clock.now())
        return msgspec.structs.replace(begun, error=one.error or begun.error)

    async def _try(self, one: ParkedMessage, standing: Standing) -> None:
        if not self._consumer.takes_tx:
            await call(self._consumer, [one.record], one.epoch, None)
            await self._ledger.free(standing, one)
            return
        async with self._ledger.transact() as tx:
            await call(self._consumer, [one.record], one.epoch, tx)
            await self._ledger.release(tx, standing, one)

    def _is_out(self, one: ParkedMessage) -> bool:
        """Count a failure of the store around a message, and tell whether it is one too many."""
        strikes = self._strikes.get(one.seq, 0) + 1
        self._strikes = {one.seq: strikes} if strikes < STRIKES else {}
        return strikes >= STRIKES

    async def _put_off(self, one: ParkedMessage, error: Exception, standing: Standing) -> None:
        failed = fail(one, error, self._consumer, now=self._ledger.clock.now())
        tell(self._consumer, failed, error)
        await self._ledger.put_off(standing, failed)
