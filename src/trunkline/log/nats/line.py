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
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from trunkline.errors import LogError, LogUnavailableError
from trunkline.log.nats.address import Address
from trunkline.log.nats.courier import Courier
from trunkline.log.nats.envelope import CONDITION, PREAMBLE
from trunkline.log.nats.era import Era
from trunkline.log.nats.jetstream import (
    NOT_ENABLED,
    PENDING_LAST,
    STREAM_EXISTS,
    STREAM_NOT_FOUND,
    WRONG_LAST,
    ApiError,
    JetStream,
    RegressedError,
    Stored,
    StreamConfig,
    UnansweredError,
    ack_of,
)
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
        self._prefix = f"tl.{address.line}."
        self.marks_stream = f"{address.stream}_marks"
        self._looking: asyncio.Lock = asyncio.Lock()
        #: Whether every append goes as an atomic batch.
        self.is_batching = False
        self.era = Era("", "", stream="", subjects="")
        self.told: Callable[[], None] = lambda: None

    @property
    def news(self) -> tuple[str, str]:
        """Return the subjects under which messages and marks are told of."""
        return self._prefix + "w.>", self._prefix + "y.>"

    @property
    def _record_subject(self) -> str:
        return self._prefix + "x.line"

    def floors(self, era: Era) -> str:
        """Return what the subjects of an era's floors begin with."""
        return f"{self._prefix}x.f.{era.token}."

    async def open(self) -> None:
        """Find the line's streams, or make them.

        Raises:
            LogError: JetStream is not enabled, or a stream's settings do not fit.
        """
        try:
            await self._jet.account()
        except ApiError as error:
            if error.number in NOT_ENABLED:
                raise LogError(
                    f"JetStream is not enabled at {self._address.place}: start nats-server with "
                    "-js, or enable it for this account"
                ) from error
            raise
        except UnansweredError as error:
            raise LogUnavailableError(
                f"JetStream does not answer at {self._address.place}: start nats-server with -js, "
                "or wait until the cluster has elected a leader"
            ) from error
        await self._ensure(self._marks_config())
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
                return await call(era)
            except UnansweredError as error:
                if isinstance(error, RegressedError):
                    await self.regressed(era)
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
        if self.era is era:
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
            await self._jet.delete(self._stream(old))
            if not await self.publish(self._record_subject, msgspec.json.encode(fresh), seq):
                await self._jet.delete(self._stream(fresh))
                fresh, _ = await self._read_record()
            self._enter(fresh)
        await self._jet.purge(self.marks_stream, f"{self._prefix}x.f.{old.token}.>")
        return fresh.epoch

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
        if ack is None:
            found = await self._jet.following(self.marks_stream, expected + 1, subject)
            if found is None or found.payload != payload:
                raise UnansweredError("NATS JetStream does not take a mark")
            return True
        if ack.error is None:
            return True
        if ack.error.err_code in {WRONG_LAST, PENDING_LAST}:
            return False
        raise ApiError(ack.error.err_code, ack.error.description)

    async def last_mark(self, subject: str) -> Stored | None:
        """Return a mark as the leader has it."""
        return await self._jet.last(self.marks_stream, subject)

    async def regressed(self, era: Era) -> None:
        """Begin a new epoch on the same stream, if it has lost what was acknowledged.

        A restored backup, or a power loss under servers that do not sync, gives numbers to other
        messages than before: everybody must be told.
        """
        info = await self._jet.info(era.stream)
        if info.state.last_seq >= era.head:
            return
        async with self._looking:
            record, seq = await self._read_record()
            if record.epoch == era.epoch:
                logger.error("the stream %s has lost messages: a new epoch begins", era.stream)
                fresh = Record(secrets.token_hex(EPOCH_BYTES), record.token)
                if not await self.publish(self._record_subject, msgspec.json.encode(fresh), seq):
                    fresh, _ = await self._read_record()
                record = fresh
            self._enter(record)

    async def _look(self) -> None:
        """Read the record, and enter the era that it says; make what is missing."""
        async with self._looking:
            try:
                found = await self._jet.last(self.marks_stream, self._record_subject)
            except ApiError as error:
                if error.number != STREAM_NOT_FOUND:
                    raise
                await self._ensure(self._marks_config())
                found = None
            if found is None:
                self._enter(await self._begin(0))
                return
            record = msgspec.json.decode(found.payload, type=Record)
            if not await self._is_there(record):
                record = await self._await_reset(record, found.seq)
            self._enter(record)

    async def _await_reset(self, lost: Record, seq: int) -> Record:
        """Let somebody finish a reset; begin a new epoch when nobody does."""
        deadline = self._clock.monotonic() + RESET_WAIT
        while self._clock.monotonic() < deadline:
            await asyncio.sleep(SOON)
            record, _ = await self._read_record()
            if (record != lost and await self._is_there(record)) or await self._is_there(lost):
                return record
        logger.error("the stream %s is gone: a new epoch begins", self._stream(lost))
        return await self._begin(seq)

    async def _begin(self, seq: int) -> Record:
        fresh = await self._make_messages()
        if await self.publish(self._record_subject, msgspec.json.encode(fresh), seq):
            return fresh
        await self._jet.delete(self._stream(fresh))
        record, _ = await self._read_record()
        return record

    def _stream(self, record: Record) -> str:
        return f"{self._address.stream}_{record.token}"

    async def _is_there(self, record: Record) -> bool:
        try:
            info = await self._jet.info(self._stream(record))
        except ApiError as error:
            if error.number == STREAM_NOT_FOUND:
                return False
            raise
        check_stream(info.config)
        self.is_batching = info.config.num_replicas > 1 or self._address.is_always_synced
        return True

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
            stream=self._stream(record),
            subjects=f"{self._prefix}m.{record.token}.",
        )
        self.told()

    async def _make_messages(self) -> Record:
        epoch = secrets.token_hex(EPOCH_BYTES)
        record = Record(epoch, epoch)
        subjects = f"{self._prefix}m.{epoch}.>"
        window = int(max(self._retention.receipt_age, self._address.timeout * 4) * 1e9)
        config = {
            "name": self._stream(record),
            "subjects": [subjects],
            "allow_direct": True,
            "allow_atomic": True,
            "duplicate_window": window,
            "republish": {
                "src": subjects,
                "dest": f"{self._prefix}w.{epoch}.>",
                "headers_only": True,
            },
        }
        info = await self._ensure(config)
        self.is_batching = info.num_replicas > 1 or self._address.is_always_synced
        return record

    def _marks_config(self) -> Mapping[str, Any]:
        return {
            "name": self.marks_stream,
            "subjects": [self._prefix + "x.>"],
            "allow_direct": True,
            "max_msgs_per_subject": 1,
            "republish": {"src": self._prefix + "x.>", "dest": self._prefix + "y.>"},
        }

    async def _ensure(self, config: Mapping[str, Any]) -> StreamConfig:
        """Make a stream, unless there is one."""
        full = {
            "retention": "limits",
            "discard": "old",
            "storage": self._address.storage,
            "num_replicas": self._address.replicas,
            **config,
        }
        try:
            return (await self._jet.create(full)).config
        except ApiError as error:
            if error.number != STREAM_EXISTS:
                raise LogError(
                    f"NATS cannot make the stream {config['name']} with replicas="
                    f"{self._address.replicas} and storage={self._address.storage}: {error}"
                ) from error
        info = await self._jet.info(config["name"])
        return info.config


def check_stream(config: StreamConfig) -> None:
    """Check that a stream of messages drops nothing by itself and takes what we send.

    Raises:
        LogError: A setting does not fit; the message names it and the command that mends it.
    """
    wrong: list[str] = [
        f"--{name.replace('_', '-')}=-1"
        for name in ("max_msgs", "max_bytes", "max_msgs_per_subject")
        if getattr(config, name) > 0
    ]
    if config.max_age > 0:
        wrong.append("--max-age=0")
    if 0 < config.max_msg_size < 1024 * 1024 + 1024:
        wrong.append("--max-msg-size=-1")
    wrong += [
        f"--{option}"
        for option, holds in (
            ("allow-direct", config.allow_direct),
            ("allow-batch", config.allow_atomic),
            ("retention=limits", config.retention == "limits"),
            ("no-deny-purge", not config.deny_purge),
        )
        if not holds
    ]
    if wrong or config.sealed:
        raise LogError(
            f"the stream {config.name} has settings under which messages or their order would be "
            f"lost: nats stream edit {config.name} {' '.join(wrong)}"
        )
