"""The settings of a line's two streams: as they are made, and what may not be otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trunkline.errors import LogError
from trunkline.log.nats.address import Address
from trunkline.log.nats.envelope import OVERHEAD
from trunkline.log.nats.jetstream import (
    STREAM_EXISTS,
    ApiError,
    JetStream,
    StreamConfig,
    UnansweredError,
)
from trunkline.model.message import MAX_MESSAGE_BYTES

#: Seconds for which the server remembers ids at least.
SHORTEST_WINDOW: Final = 120.0


class Streams:
    """Name and make a line's streams.

    Args:
        address: How they are named and made.
        jet: The API.
    """

    def __init__(self, address: Address, jet: JetStream) -> None:
        self._address = address
        self._jet = jet
        self.prefix = f"tl.{address.line}."
        self.marks = f"{address.stream}_marks"

    def messages(self, token: str) -> str:
        """Return the name of the stream of messages that a token tells from others."""
        return f"{self._address.stream}_{token}"

    def subjects(self, token: str) -> str:
        """Return what the messages' subjects begin with."""
        return f"{self.prefix}m.{token}."

    async def make_marks(self) -> None:
        """Make the stream of marks, unless it is there."""
        await self._make(
            {
                "name": self.marks,
                "subjects": [self.prefix + "x.>"],
                "max_msgs_per_subject": 1,
                "republish": {"src": self.prefix + "x.>", "dest": self.prefix + "y.>"},
            }
        )

    async def make_messages(self, token: str, *, window: float) -> StreamConfig:
        """Make a stream of messages.

        Args:
            token: What tells it from others.
            window: Seconds for which the server remembers idempotency keys.
        """
        subjects = self.subjects(token) + ">"
        dest = f"{self.prefix}w.{token}.>"
        return await self._make(
            {
                "name": self.messages(token),
                "subjects": [subjects],
                "allow_atomic": True,
                "duplicate_window": int(max(window, SHORTEST_WINDOW) * 1e9),
                "republish": {"src": subjects, "dest": dest, "headers_only": True},
            }
        )

    async def _make(self, config: Mapping[str, Any]) -> StreamConfig:
        full = {
            "retention": "limits",
            "discard": "old",
            "storage": self._address.storage,
            "num_replicas": self._address.replicas,
            "allow_direct": True,
            **config,
        }
        try:
            return (await self._jet.create(full)).config
        except UnansweredError:
            raise
        except ApiError as error:
            if error.number != STREAM_EXISTS:
                raise LogError(
                    f"NATS cannot make the stream {config['name']} with replicas="
                    f"{self._address.replicas} and storage={self._address.storage}: {error}"
                ) from error
        return (await self._jet.info(config["name"])).config


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
    if 0 < config.max_msg_size < MAX_MESSAGE_BYTES + OVERHEAD:
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
