"""A listener's process: writes down all it is told, and goes on from there in its next life.

It ends by itself when it was told of the last message of every channel it listens to.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.journal import Journal, read_journal
from tests.faults.roles import CHANNELS, END, PATTERN, RETRY, Part, line_at, opened, tell_when_asked
from trunkline.channels.catchup import Gap
from trunkline.client import Client
from trunkline.errors import LogError, ServerUnavailableError
from trunkline.model.message import Message
from trunkline.model.position import Position

#: Clients by these transports count per channel and know no epoch.
BY_CHANNEL = frozenset({"poll", "long-poll", "stream"})
Stand = Position | dict[str, int] | int


class Book:
    """Write down what one subscription is told, and know where it stands.

    Args:
        path: The journal.
        channels: What the subscription is to.
        by_channel: Whether it counts per channel.
        slowness: Seconds that each message takes.
    """

    def __init__(
        self, path: str, channels: tuple[str, ...], *, by_channel: bool, slowness: float
    ) -> None:
        self._channels = channels
        self._open_channels = set(channels)
        self._by_channel = by_channel
        self._slowness = slowness
        self.stand: Stand = 0
        for words in read_journal(path):
            self._stand_at(words)
        self._journal = Journal(path)
        self.done = asyncio.Event()
        if not self._open_channels:
            self.done.set()

    def _stand_at(self, words: list[Any]) -> None:
        if words[0] == "message":
            _, nonce, channel, message_id, global_id, epoch = words
            here = Position(epoch, global_id)
            self.stand = {channel: message_id} if self._by_channel else here
            if nonce.startswith(END):
                self._open_channels.discard(channel)
        elif words[0] == "gap":
            *_, epoch, position, floor = words
            here = Position(epoch, position)
            self.stand = dict.fromkeys(self._channels, floor) if self._by_channel else here

    def _write(self, *words: Any) -> None:
        self._journal.write(*words)
        self._stand_at(list(words))
        if not self._open_channels:
            self.done.set()

    async def message(self, message: Message) -> None:
        """Take a message."""
        ids = (message.channel, message.message_id, message.global_id, message.position.epoch)
        self._write("message", message.data["n"], *ids)
        if self._slowness:
            await asyncio.sleep(self._slowness)

    def gap(self, gap: Gap) -> None:
        """Take a gap."""
        self._write(
            "gap", gap.reason, gap.after, gap.position.epoch, gap.position.global_id, gap.floor
        )


def books_of(part: Part) -> list[tuple[tuple[str, ...], str]]:
    """Return a part's subscriptions: their channels and the journal of each."""
    if part.role in BY_CHANNEL:
        return [((name,), f"{part.journal}.{n}") for n, name in enumerate(CHANNELS[:2])]
    if part.role == "websocket":
        return [(CHANNELS, f"{part.journal}.0"), (CHANNELS[:1], f"{part.journal}.1")]
    return [(CHANNELS, f"{part.journal}.0")]


async def listen_inside(part: Part, book: Book) -> None:
    """Iterate over a subscription in the process; when the engine fails, subscribe again."""
    line = await opened(line_at(part.url))
    async with line:
        while not book.done.is_set():
            subscription = line.subscribe(PATTERN, position=book.stand, on_gap=book.gap)
            try:
                async for message in subscription:
                    await book.message(message)
                    if book.done.is_set():
                        return
            except LogError:
                await asyncio.sleep(RETRY)
            finally:
                subscription.close()


async def listen_by_handler(part: Part, book: Book) -> None:
    """Give the line a handler, once: whatever happens later is the line's to bear."""
    line = await opened(line_at(part.url))
    async with line:
        while True:
            try:
                await line.subscribe(
                    list(CHANNELS), book.message, position=book.stand, on_gap=book.gap
                )
            except LogError:
                await asyncio.sleep(RETRY)
            else:
                break
        await book.done.wait()


async def listen_outside(client: Client, channels: tuple[str, ...], book: Book) -> None:
    """Iterate over a client's subscription."""
    while not book.done.is_set():
        subscription = client.subscribe(*channels, position=book.stand, on_gap=book.gap)
        try:
            async for message in subscription:
                await book.message(message)
                if book.done.is_set():
                    return
        except ServerUnavailableError:
            await asyncio.sleep(RETRY)
        finally:
            subscription.close()


async def run(part: Part) -> None:
    """Listen until the end was heard."""
    tell_when_asked()
    by_channel = part.role in BY_CHANNEL
    books = [
        (channels, Book(path, channels, by_channel=by_channel, slowness=part.slowness))
        for channels, path in books_of(part)
    ]
    if part.role in {"line", "handler"}:
        listen = listen_inside if part.role == "line" else listen_by_handler
        await listen(part, books[0][1])
        return
    options = {"first_delay": 0.05, "max_delay": 0.5, "silence_timeout": 10.0}
    transport: Any = part.role
    async with (
        Client(part.url, transport=transport, poll_interval=0.1, **options) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for channels, book in books:
            tasks.create_task(listen_outside(client, channels, book))


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[1], type=Part)
    Path(given.journal).parent.mkdir(exist_ok=True)
    asyncio.run(run(given))
