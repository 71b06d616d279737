"""The receiver's half: prove who sent a webhook, and have it take effect once.

Delivery is at least once, under an id that stays the same. An inbox notes the id in the very
transaction in which the handler writes, so that a repetition changes nothing: both are committed
or neither is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from trunkline.channels.transaction import LineTransaction
from trunkline.errors import ConfigError, InvalidMessageError, UsageError
from trunkline.model import codec
from trunkline.runtime.clock import Clock, SystemClock
from trunkline.sql.database import Dialect
from trunkline.store.guests.guest import AsyncGuest, SyncGuest
from trunkline.store.guests.recognition import guest_of
from trunkline.webhooks.endpoint_statements import EndpointStatements, endpoint_statements
from trunkline.wire.signature import (
    DEMUX_SIGNAL,
    TOLERANCE,
    SignatureError,
    VerifyingKey,
    verify,
    verify_as_demux,
)

#: Bytes of a body at most.
LARGEST: Final = 1024 * 1024

Keys = Sequence[str] | Callable[[], Sequence[str]]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Be a webhook that is proven to come from whom it says.

    Args:
        id: The delivery id, the same when it comes again.
        sent_at: When it was signed, Unix seconds; 0 in Demux's format.
        signal: What Demux's header says it is; not signed.
        attempt: Which attempt this is, as the sender says.
        body: The bytes as they came.
    """

    id: str
    sent_at: int
    signal: str
    attempt: int
    body: bytes

    @property
    def data(self) -> Any:
        """Return the decoded body.

        Raises:
            InvalidMessageError: It is not JSON.
        """
        try:
            return codec.decode(self.body)
        except (ValueError, msgspec.DecodeError) as error:
            raise InvalidMessageError("the body is not JSON") from error


class InboxLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Say what an inbox takes.

    Args:
        tolerance: Seconds that a timestamp may be away.
        largest: Bytes of a body at most.
    """

    tolerance: float = TOLERANCE
    largest: int = LARGEST


#: What an inbox takes where nothing is said.
DEFAULTS: Final = InboxLimits()


class BodyTooLargeError(UsageError):
    """Report a body that is larger than the receiver takes."""

    status = 413
    code = "body-too-large"


class Inbox:
    """Receive webhooks of one sender.

    Args:
        keys: The secrets (``whsec_…``) or public keys (``whpk_…``) that are valid now, or what
            returns them.
        source: Names the sender, so that two senders' ids are two.
        format: ``standard`` (Standard Webhooks), or ``demux``, whose signature can be replayed.
        limits: What it takes.
        schema: In which PostgreSQL schema the tables of Trunkline are.
        clock: Tells the time.

    Raises:
        ConfigError: The format is unknown, or there is no key.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        source: str = "default",
        format: str = "standard",  # noqa: A002 - the word everywhere else
        limits: InboxLimits = DEFAULTS,
        schema: str = "trunkline",
        clock: Clock | None = None,
    ) -> None:
        if format not in {"standard", "demux"}:
            raise ConfigError(f"format={format!r}: standard or demux")
        if not callable(keys) and not keys:
            raise ConfigError("an inbox without keys accepts nothing: give it the sender's secret")
        self._keys = keys
        self._source = source
        self._is_demux = format == "demux"
        self._tolerance = limits.tolerance
        self.largest = limits.largest
        self._schema = schema
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"<Inbox {self._source}>"

    def verify(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Return a webhook, if it is proven to come from the sender, lately.

        Args:
            headers: The request's, in any case.
            body: The bytes as they came, before any parsing.

        Raises:
            SignatureError: It isn't, whatever the reason; answer 401.
            BodyTooLargeError: There is too much of it; answer 413.
        """
        if len(body) > self.largest:
            raise BodyTooLargeError(f"a webhook has at most {self.largest} bytes")
        given = self._keys() if callable(self._keys) else self._keys
        keys = [VerifyingKey.read(text) for text in given]
        lowered = {str(name).lower(): str(value) for name, value in headers.items()}
        signal = lowered.get(DEMUX_SIGNAL.lower(), "")
        if self._is_demux:
            signal = verify_as_demux(headers, body, keys)
            ident, sent_at = lowered.get("webhook-id", ""), 0
        else:
            now = self._clock.now()
            ident, sent_at = verify(headers, body, keys, now=now, tolerance=self._tolerance)
        attempt = lowered.get("webhook-attempt", "1")
        number = int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) < 7 else 1
        return Delivery(id=ident, sent_at=sent_at, signal=signal, attempt=number, body=body)

    async def accept(self, delivery: Delivery, *, tx: Any, handler: str = "") -> bool:
        """Note a webhook in the transaction in which it takes effect.

        Args:
            delivery: As :meth:`verify` returned it.
            tx: The line's transaction, or any that ``line.publish`` takes as ``tx=``.
            handler: Names the handler, where several handle the same webhook, each by itself.

        Returns:
            False if it was handled before: do nothing, and answer 2xx.

        Raises:
            SignatureError: It has no id, so that a repetition could not be told.
            UsageError: That is no transaction.
        """
        values = self._values(delivery, handler)
        if isinstance(tx, LineTransaction):
            return await tx.execute(self._sql(tx.dialect).accept, *values) == 1
        guest = guest_of(tx)
        statement = self._plain(guest.dialect)
        if guest.is_sync:
            return cast(SyncGuest, guest).run(statement, values) == 1
        return await cast(AsyncGuest, guest).run(statement, values) == 1

    def accept_in(self, tx: Any, delivery: Delivery, *, handler: str = "") -> bool:
        """Note a webhook in a synchronous transaction; as :meth:`accept`, without awaiting.

        Raises:
            SignatureError: It has no id, so that a repetition could not be told.
            UsageError: That is no synchronous transaction.
        """
        values, guest = self._values(delivery, handler), guest_of(tx)
        if not guest.is_sync:
            raise UsageError("this transaction wants to be awaited: await inbox.accept(…, tx=…)")
        return cast(SyncGuest, guest).run(self._plain(guest.dialect), values) == 1

    async def forget(self, *, tx: Any, older_than: float) -> None:
        """Forget what was handled longer ago than a sender tries again: some days.

        Args:
            tx: As for :meth:`accept`.
            older_than: Seconds.
        """
        until = self._clock.now() - older_than
        if isinstance(tx, LineTransaction):
            await tx.execute(self._sql(tx.dialect).forget, until)
            return
        guest = guest_of(tx)
        statement = EndpointStatements().forget.replace("{p}", self._prefix(guest.dialect))
        if guest.is_sync:
            cast(SyncGuest, guest).run(statement, (until,))
        else:
            await cast(AsyncGuest, guest).run(statement, (until,))

    def _values(self, delivery: Delivery, handler: str) -> tuple[Any, ...]:
        if not delivery.id:
            raise SignatureError
        return (self._source, delivery.id, handler, self._clock.now())

    def _sql(self, dialect: Dialect) -> EndpointStatements:
        return endpoint_statements(dialect, self._prefix(dialect))

    def _plain(self, dialect: Dialect) -> str:
        return EndpointStatements().accept.replace("{p}", self._prefix(dialect))

    def _prefix(self, dialect: Dialect) -> str:
        return f"{self._schema}." if dialect is Dialect.POSTGRES and self._schema else ""
