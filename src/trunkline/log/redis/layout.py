"""What a layout is: one way to keep a line in a server's keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from trunkline.log.port import ChannelState, Group, Heads, Outcome, Page
from trunkline.log.redis.scripts import Script
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import Interest


class EncodedTurn(Protocol):
    """Be one turn on its way to the server, the same however often it is sent."""

    @property
    def script(self) -> Script:
        """Return the script that stores it."""

    @property
    def ask(self) -> Sequence[Any]:
        """Return the script's own arguments."""

    @property
    def body(self) -> bytes:
        """Return what goes along as it is."""

    def outcomes(self, reply: Sequence[Any]) -> list[list[Outcome]]:
        """Say what a reply means for each request of the turn."""


class Layout(Protocol):
    """Keep a line in keys of its own shape."""

    #: The pub/sub channel that tells of news.
    news_channel: str

    def encode(self, requests: Sequence[Sequence[Group]], token: str, number: int) -> EncodedTurn:
        """Prepare a turn.

        Args:
            requests: The groups of each caller.
            token: Names this publisher.
            number: Counts its turns, rising.
        """

    def news_head(self, payload: bytes) -> tuple[int, str] | None:
        """Read head and epoch ('' if it does not say) from a notification, or None: look anew."""

    async def channel_page(self, channel: ChannelKey, after: int, limit: int) -> Page:
        """Read a page of one channel."""

    async def line_page(self, after: int, limit: int, interest: Interest | None) -> Page:
        """Read a page of all wanted channels."""

    async def heads(self, channels: Iterable[ChannelKey]) -> Heads:
        """Read the last ids of some channels and of the line."""

    async def states(self, after: ChannelKey | None, limit: int) -> Sequence[ChannelState]:
        """Describe channels in the order of (site, name)."""

    async def trim(self, channel: ChannelKey, upto: int) -> int:
        """Hide a channel's messages up to a message id; return how many."""

    async def sweep(self) -> int:
        """Apply the limits; return how many messages became unreadable."""

    async def reset(self) -> str:
        """Erase everything and return the new epoch."""
