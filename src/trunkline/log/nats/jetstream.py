"""The JetStream API, as far as the engine uses it: streams, stored messages, direct gets.

Names and numbers are those of NATS ADR-1, ADR-8, ADR-31 and ADR-50 and of the server's error list
(errors.json). What is decided upon is asked of a stream's leader (``STREAM.MSG.GET``); what is
only read may be answered by any replica (``DIRECT.GET``).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from trunkline.errors import LogError, LogUnavailableError
from trunkline.log.nats.courier import Answer, Courier
from trunkline.log.nats.envelope import value_of

T = TypeVar("T")

NOT_ENABLED: Final = frozenset({10039, 10076})
STREAM_NOT_FOUND: Final = 10059
NO_MESSAGE: Final = 10037
STREAM_EXISTS: Final = 10058
WRONG_LAST: Final = 10071
PENDING_LAST: Final = 10164
DUPLICATE_IN_PROCESS: Final = 10158
DUPLICATE_IN_BATCH: Final = 10201

#: Seconds to wait for one answer.
PATIENCE: Final = 2.0
READ_PATIENCE: Final = 5.0
#: Subjects that one request for last messages may name; the server's limit is 1024.
LAST_SUBJECTS: Final = 1000


class UnansweredError(LogUnavailableError):
    """Say that nobody answered: no connection, no leader, no such stream, or too late."""


class RegressedError(UnansweredError):
    """Say that messages are gone which were acknowledged, as far as an answer tells."""


class ApiError(LogError):
    """Say that the server refused a request.

    Attributes:
        number: The server's ``err_code``.
    """

    def __init__(self, number: int, description: str) -> None:
        super().__init__(f"NATS JetStream: {description} ({number})")
        self.number = number


class Refusal(msgspec.Struct, frozen=True):
    """Be the error in an answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(msgspec.Struct, frozen=True):
    """Be the answer to a publish."""

    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None


class StreamConfig(msgspec.Struct, frozen=True):
    """Be the settings of a stream that matter to us."""

    name: str = ""
    retention: str = "limits"
    storage: str = "file"
    discard: str = "old"
    num_replicas: int = 1
    max_msgs: int = -1
    max_bytes: int = -1
    max_age: int = 0
    max_msgs_per_subject: int = -1
    max_msg_size: int = -1
    duplicate_window: int = 0
    allow_direct: bool = False
    allow_atomic: bool = False
    deny_purge: bool = False
    sealed: bool = False


class StreamState(msgspec.Struct, frozen=True):
    """Be what a stream holds."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    subjects: dict[str, int] | None = None


class StreamInfo(msgspec.Struct, frozen=True):
    """Describe a stream."""

    config: StreamConfig = StreamConfig()
    state: StreamState = StreamState()
    total: int = 0
    error: Refusal | None = None


class _Message(msgspec.Struct, frozen=True):
    subject: str = ""
    seq: int = 0
    hdrs: str = ""
    data: str = ""


class _MessageAnswer(msgspec.Struct, frozen=True):
    message: _Message | None = None
    error: Refusal | None = None


class _Plain(msgspec.Struct, frozen=True):
    success: bool = False
    purged: int = 0
    error: Refusal | None = None


class _Account(msgspec.Struct, frozen=True):
    error: Refusal | None = None


class _Names(msgspec.Struct, frozen=True):
    streams: list[str] | None = None
    error: Refusal | None = None


class Stored(NamedTuple):
    """Be a message as a stream holds it."""

    seq: int
    subject: str
    header: bytes
    payload: bytes


class Batch(NamedTuple):
    """Be the answer to a direct get: messages, whether more follow, and up to where it is whole.

    *upto* is 0 where the server does not tell.
    """

    messages: Sequence[Stored]
    has_more: bool
    upto: int


_ack = msgspec.json.Decoder(Ack)


def ack_of(answer: Answer) -> Ack | None:
    """Return a publish's acknowledgement, or None when no stream listens."""
    if answer.status:
        return None
    return _ack.decode(answer.data)


class JetStream:
    """Speak to the JetStream API.

    Args:
        courier: Carries the requests.
        prefix: The API's, ``$JS.API`` as a rule.
    """

    def __init__(self, courier: Courier, prefix: str) -> None:
        self._courier = courier
        self._prefix = prefix + "."

    async def account(self) -> None:
        """Ask whether JetStream is there.

        Raises:
            UnansweredError: Nobody answers.
            ApiError: It is not enabled for us.
        """
        await self._ask("INFO", None, _Account, is_look=True)

    async def names(self, subject: str) -> Sequence[str]:
        """Return the streams that hold subjects below one."""
        found = await self._ask("STREAM.NAMES", {"subject": subject}, _Names, is_look=True)
        return found.streams or ()

    async def create(self, config: Mapping[str, Any]) -> StreamInfo:
        """Create a stream; with the same settings it may be there already."""
        body = dict(config)
        return await self._ask(f"STREAM.CREATE.{body['name']}", body, StreamInfo, within=10.0)

    async def update(self, config: Mapping[str, Any]) -> StreamInfo:
        """Change a stream's settings."""
        body = dict(config)
        return await self._ask(f"STREAM.UPDATE.{body['name']}", body, StreamInfo, within=10.0)

    async def info(self, stream: str, *, subjects: str = "", offset: int = 0) -> StreamInfo:
        """Describe a stream, on wish with the number of messages of each subject."""
        body = {"subjects_filter": subjects, "offset": offset} if subjects else None
        return await self._ask(
            f"STREAM.INFO.{stream}", body, StreamInfo, within=READ_PATIENCE, is_look=True
        )

    async def delete(self, stream: str) -> bool:
        """Delete a stream; tell whether it was there."""
        try:
            await self._ask(f"STREAM.DELETE.{stream}", None, _Plain, within=10.0)
        except ApiError as error:
            if error.number == STREAM_NOT_FOUND:
                return False
            raise
        return True

    async def purge(self, stream: str, subject: str, *, below: int = 0) -> int:
        """Delete messages of a subject, on wish only those below a sequence; return how many."""
        body: dict[str, Any] = {"filter": subject}
        if below:
            body["seq"] = below
        found = await self._ask(f"STREAM.PURGE.{stream}", body, _Plain, within=READ_PATIENCE)
        return found.purged

    async def last(self, stream: str, subject: str) -> Stored | None:
        """Return a subject's last message, as the leader has it."""
        return await self._get(stream, {"last_by_subj": subject})

    async def following(self, stream: str, seq: int, subject: str) -> Stored | None:
        """Return a subject's first message from a sequence on, as the leader has it."""
        return await self._get(stream, {"seq": seq, "next_by_subj": subject})

    async def at(self, stream: str, seq: int) -> Stored | None:
        """Return the message of a sequence, as the leader has it, or None when it is gone."""
        return await self._get(stream, {"seq": seq})

    async def _get(self, stream: str, body: Mapping[str, Any]) -> Stored | None:
        try:
            found = await self._ask(f"STREAM.MSG.GET.{stream}", body, _MessageAnswer, is_look=True)
        except ApiError as error:
            if error.number == NO_MESSAGE:
                return None
            raise
        message = found.message
        if message is None:
            return None
        header, payload = base64.b64decode(message.hdrs), base64.b64decode(message.data)
        return Stored(message.seq, message.subject, header, payload)

    async def direct(self, stream: str, body: Mapping[str, Any]) -> Batch:
        """Get stored messages from any replica.

        Args:
            stream: The stream.
            body: The request: ``seq``, ``batch``, ``next_by_subj``, ``multi_last`` ….

        Raises:
            UnansweredError: No replica answers.
            ApiError: The request was refused.
        """
        answers = await self._courier.collect(
            f"{self._prefix}DIRECT.GET.{stream}", msgspec.json.encode(body), within=READ_PATIENCE
        )
        if answers is None or answers[-1].status == 503:
            raise UnansweredError(f"no replica of the stream {stream} answers")
        *messages, end = answers
        if end.status not in {204, 404}:
            raise ApiError(end.status, end.header[13:].split(b"\r\n")[0].decode())
        pending = value_of(end.header, b"\r\nNats-Num-Pending: ") or b"0"
        upto = value_of(end.header, b"\r\nNats-UpTo-Sequence: ") or b"0"
        return Batch([_stored(one) for one in messages], pending != b"0", int(upto))

    async def _ask(
        self,
        what: str,
        body: Mapping[str, Any] | None,
        kind: type[T],
        *,
        within: float = PATIENCE,
        is_look: bool = False,
    ) -> T:
        payload = b"" if body is None else msgspec.json.encode(body)
        ask = self._courier.look if is_look else self._courier.call
        answer = await ask(self._prefix + what, payload, within=within)
        if answer is None or answer.status:
            raise UnansweredError(f"NATS JetStream does not answer {what}")
        found = msgspec.json.decode(answer.data, type=kind)
        error: Refusal | None = getattr(found, "error", None)
        if error is not None:
            if error.code == 503 and error.err_code not in NOT_ENABLED:
                raise UnansweredError(f"NATS JetStream: {error.description} ({error.err_code})")
            raise ApiError(error.err_code, error.description)
        return found


def _stored(answer: Answer) -> Stored:
    header = answer.header
    seq = value_of(header, b"\r\nNats-Sequence: ") or b"0"
    subject = value_of(header, b"\r\nNats-Subject: ") or b""
    return Stored(int(seq), subject.decode(), header, answer.data)
