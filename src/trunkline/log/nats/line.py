"""The line on its servers: which streams it has, which epoch it is in, and how a reset changes it.

Two streams make a line. One holds nothing but messages, so that its sequence is the global id; its
name and its subjects carry the epoch. The other holds marks: the line's record, which says the
epoch, and floors. A reset makes a new stream of messages, deletes the old one and then changes the
record; so a writer of the old epoch finds nobody that takes its messages, and whoever finds the
recorded stream gone knows that the messages are lost, and begins a new epoch itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from trunkline.errors import LogError, LogUnavailableError
from trunkline.log.nats.address import Address
from trunkline.log.nats.courier import Courier
from trunkline.log.nats.envelope import CONDITION, PREAMBLE
from trunkline.log.nats.era import Era
from trunkline.log.nats.jetstream import (
    NOT_ENABLED,
    PENDING_LAST,
    STREAM_NOT_FOUND,
    WRONG_LAST,
    ApiError,
    JetStream,
    Stored,
    StreamConfig,
    UnansweredError,
    ack_of,
)
from trunkline.log.nats.streams import Streams, check_stream
from trunkline.log.retention import Retention
from trunkline.model.position import EPOCH_BYTES
from trunkline.runtime.clock import Clock, jitter

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds to wait before what failed is tried again: at first, and at most.
SOON: Final = 0.01
LATER: Final = 0.4
#: Seconds that somebody else gets to finish a reset before the messages count as lost.
RESET_WAIT: Final = 2.0
#: Seconds after which what looks like a loss is looked at again.
SURE: Final = 0.1
#: The same where replicas may disagree: longer than one that was frozen keeps believing it leads.
SURE_OF_MANY: Final = 3.0


class Record(msgspec.Struct, frozen=True):
    """Be the line's record: which epoch it is in, and which stream has its messages."""

    epoch: str
    token: str


class Line:
    """Know the line's present era, and bring about the next one.

    Args:
        address: How streams are made and named.
        courier: Carries requests.
        jet: The API.
        retention: Says how long receipts must be remembered.
        clock: Tells how long somebody has waited.
    """

    def __init__(
        self,
        address: Address,
        *,
        courier: Courier,
        jet: JetStream,
        retention: Retention,
        clock: Clock,
    ) -> None:
        self._address = address
        self._courier = courier
        self._jet = jet
        self._retention = retention
        self._clock = clock
        self._streams = Streams(address, jet)
        self._looking: asyncio.Lock = asyncio.Lock()
        #: Whether every append goes as an atomic batch.
        self.is_batching = False
        self.is_replicated = False
        self.era = Era("", "", stream="", subjects="")
        #: Whether the connection broke since the line was last looked at.
        self.is_suspect = False
        #: How often it broke.
        self.losses = 0
        self.told: Callable[[], None] = lambda: None

    @property
    def marks_stream(self) -> str:
        """Return the name of the stream of marks."""
        return self._streams.marks

    @property
    def news(self) -> tuple[str, str]:
        """Return the subjects under which messages and marks are told of."""
        return self._streams.prefix + "w.>", self._streams.prefix + "y.>"

    @property
    def _record_subject(self) -> str:
        return self._streams.prefix + "x.line"

    def floors(self, era: Era) -> str:
        """Return what the subjects of an era's floors begin with."""
        return f"{self._streams.prefix}x.f.{era.token}."

    async def open(self) -> None:
        """Find the line's streams, or make them.

        Raises:
            LogError: JetStream is not enabled, or a stream's settings do not fit.
        """
        deadline = self._clock.monotonic() + self._address.open_timeout
        while True:
            try:
                await self._open()
            except UnansweredError as error:
                if self._clock.monotonic() >= deadline or not self._courier.is_up:
                    raise LogUnavailableError(
                        f"JetStream does not answer at {self._address.place}: start nats-server "
                        "with -js, or see that a majority of the cluster is up"
                    ) from error
                await asyncio.sleep(jitter(LATER))
            else:
                return

    async def _open(self) -> None:
        try:
            await self._jet.account()
        except ApiError as error:
            if error.number not in NOT_ENABLED:
                raise
            raise LogError(
                f"JetStream is not enabled at {self._address.place}: start nats-server with -js, "
                "or enable it for this account"
            ) from error
        await self._streams.make_marks()
        await self._look()

    async def persist(self, call: Callable[[Era], Awaitable[T]]) -> T:
        """Ask again and again while nobody answers, in the era that holds by then.

        Args:
            call: Asks, and raises :class:`UnansweredError` when nobody answers.

        Raises:
            LogUnavailableError: Nobody did within the line's time-out.
        """
        deadline = self._clock.monotonic() + self._address.timeout
        pause = SOON
        while True:
            era = self.era
            try:
                if self.is_suspect:
                    await self.confirm()
                    era = self.era
                return await call(era)
            except UnansweredError as error:
                if self._clock.monotonic() >= deadline:
                    raise LogUnavailableError(
                        f"{error}: no answer for {self._address.timeout:g} seconds from "
                        f"{self._address.place}; is a majority of the servers up?"
                    ) from error
            except ApiError as error:
                if error.number != STREAM_NOT_FOUND or self._clock.monotonic() >= deadline:
                    raise
            if not await self.recover(era):
                await asyncio.sleep(jitter(pause))
                pause = min(LATER, pause * 2)

    async def recover(self, era: Era) -> bool:
        """Look, after something failed, whether the line is in another era by now.

        Args:
            era: In which it failed.

        Returns:
            Whether the era is another one now.
        """
        await self._courier.wait_up(LATER)
        if self.era is era and self._courier.is_up:
            try:
                await self._look()
            except LogError as error:
                logger.debug("the line's record cannot be read: %s", error)
        return self.era is not era

    async def reset(self) -> str:
        """Begin a new epoch, and erase what was before.

        Returns:
            The new epoch; somebody else's, when they began one at the same time.
        """
        async with self._looking:
            old, seq = await self._read_record()
            fresh = await self._make_messages()
            await self._jet.delete(self._streams.messages(old.token))
            if not await self.publish(self._record_subject, msgspec.json.encode(fresh), seq):
                await self._jet.delete(self._streams.messages(fresh.token))
                fresh, _ = await self._read_record()
            self._enter(fresh)
        await self._jet.purge(self.marks_stream, f"{self._streams.prefix}x.f.{old.token}.>")
        return fresh.epoch

    def lose(self) -> None:
        """Note that the connection broke."""
        self.losses += 1
        self.is_suspect = True

    async def confirm(self) -> None:
        """Look, after the connection broke, whether the line is what it was.

        Raises:
            LogError: That could not be found out.
        """
        async with self._looking:
            if self.is_suspect:
                await self._look_now()

    async def check(self) -> bool:
        """Ask whether the line's record still says our era; tell whether it does not."""
        era = self.era
        await self._look()
        return self.era is not era

    async def publish(self, subject: str, payload: bytes, expected: int) -> bool:
        """Store a mark, if its subject has not changed since *expected*.

        Args:
            subject: The mark's.
            payload: What to store.
            expected: The sequence of the mark before, 0 for none.

        Returns:
            Whether it was stored.

        Raises:
            UnansweredError: It is not known whether it was.
        """
        header = PREAMBLE + CONDITION % expected + b"\r\n"
        answer = await self._courier.call(subject, payload, within=5.0, header=header)
        ack = None if answer is None else ack_of(answer)
        if ack is not None and ack.error is None:
            return True
        error = None if ack is None else ack.error
        if error is not None and error.err_code not in {WRONG_LAST, PENDING_LAST}:
            raise ApiError(error.err_code, error.description)
        # A refusal may come from a server that leads no more, and its successor have stored it.
        found = await self._jet.following(self.marks_stream, expected + 1, subject)
        if found is not None and found.payload == payload:
            return True
        if error is None or (found is None and self.is_replicated):
            raise UnansweredError("NATS JetStream does not take a mark")
        return False

    async def last_mark(self, subject: str) -> Stored | None:
        """Return a mark as the leader has it."""
        return await self._jet.last(self.marks_stream, subject)

    async def _look(self) -> None:
        """Enter the era that the record says."""
        async with self._looking:
            await self._look_now()

    async def _look_now(self) -> None:
        losses = self.losses
        self._enter(await self._find())
        self.is_suspect = losses != self.losses

    async def _find(self) -> Record:
        """Read the record; make what is missing."""
        era, head = self.era, self.era.head
        try:
            found = await self._jet.last(self._streams.marks, self._record_subject)
        except ApiError as error:
            if error.number != STREAM_NOT_FOUND:
                raise
            await self._streams.make_marks()
            found = None
        if found is None:
            return await self._begin(0)
        record = msgspec.json.decode(found.payload, type=Record)
        last = await self._last_seq(record)
        if last is None:
            return await self._await_reset(found.seq)
        if record.epoch == era.epoch and last < head and await self._is_behind(record, head):
            return await self._renew(record, found.seq)
        return record

    async def _is_behind(self, record: Record, head: int) -> bool:
        """Look again and again before what was seen counts as lost.

        A leader that was just elected might answer too early, and one that was frozen, and does
        not know yet that it leads no more, tells of a line as it was then.
        """
        stream = self._streams.messages(record.token)
        everything = self._streams.subjects(record.token) + ">"
        until = self._clock.monotonic() + (SURE_OF_MANY if self.is_replicated else SURE)
        while True:
            await asyncio.sleep(SURE)
            last = await self._last_seq(record)
            if last is None or last >= head:
                return False
            body = {"seq": head, "next_by_subj": everything, "batch": 1}
            if (await self._jet.direct(stream, body)).messages:
                return False  # some replica has it
            if self._clock.monotonic() >= until:
                return True

    async def _renew(self, record: Record, seq: int) -> Record:
        """Begin a new epoch on a stream that has lost what was acknowledged.

        A restored backup, or a power loss under servers that do not sync, gives numbers to other
        messages than before: everybody must be told.
        """
        logger.error("the line %s has lost messages: a new epoch begins", self._address.line)
        fresh = Record(secrets.token_hex(EPOCH_BYTES), record.token)
        if await self.publish(self._record_subject, msgspec.json.encode(fresh), seq):
            return fresh
        return (await self._read_record())[0]

    async def _await_reset(self, seq: int) -> Record:
        """Let somebody finish a reset; begin a new epoch when nobody does."""
        deadline = self._clock.monotonic() + RESET_WAIT
        while self._clock.monotonic() < deadline:
            await asyncio.sleep(SOON)
            record, _ = await self._read_record()
            if await self._last_seq(record) is not None:
                return record
        logger.error("the stream of the line %s is gone: a new epoch begins", self._address.line)
        return await self._begin(seq)

    async def _begin(self, seq: int) -> Record:
        fresh = await self._make_messages()
        if await self.publish(self._record_subject, msgspec.json.encode(fresh), seq):
            return fresh
        await self._jet.delete(self._streams.messages(fresh.token))
        record, _ = await self._read_record()
        return record

    async def _make_messages(self) -> Record:
        epoch = secrets.token_hex(EPOCH_BYTES)
        window = self._retention.receipt_age
        self._note(await self._streams.make_messages(epoch, window=window))
        return Record(epoch, epoch)

    def _note(self, config: StreamConfig) -> None:
        self.is_replicated = config.num_replicas > 1
        self.is_batching = self.is_replicated or self._address.is_always_synced

    async def _last_seq(self, record: Record) -> int | None:
        """Return the last sequence of a record's stream, None when the stream is gone."""
        try:
            info = await self._jet.info(self._streams.messages(record.token))
        except ApiError as error:
            if error.number == STREAM_NOT_FOUND:
                return None
            raise
        check_stream(info.config)
        self._note(info.config)
        return info.state.last_seq

    async def _read_record(self) -> tuple[Record, int]:
        found = await self._jet.last(self.marks_stream, self._record_subject)
        if found is None:
            raise UnansweredError("the line has no record yet")
        return msgspec.json.decode(found.payload, type=Record), found.seq

    def _enter(self, record: Record) -> None:
        if record.epoch == self.era.epoch:
            return
        self.era = Era(
            record.epoch,
            record.token,
            stream=self._streams.messages(record.token),
            subjects=self._streams.subjects(record.token),
        )
        self.told()
