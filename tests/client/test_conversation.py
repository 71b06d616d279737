"""The client's side of the socket protocol, held to a model server at every interleaving."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.client.conversation import Conversation, SocketFeed
from trunkline.client.cursor import Cursor, position_in
from trunkline.client.feed import Feed
from trunkline.client.settings import Settings
from trunkline.model.message import Message
from trunkline.model.position import Position
from trunkline.wire.pushes import Live, Moved, Pushed, Subscribed, Unsubscribed
from trunkline.wire.socket import SubscribeRequest, UnsubscribeRequest

NAMES = ("/a", "/b", "/c")
SETTINGS = Settings(buffer_messages=10_000)


class ModelServer:
    """Keep a line, and serve one connection as the gateway does: one position, some interests."""

    def __init__(self) -> None:
        self.line: list[tuple[int, str]] = []
        self.connect()

    def connect(self) -> None:
        self.places: dict[str, int] = {}
        self.marks: list[tuple[int, int]] = []
        self.out: list[Any] = []

    def publish(self, channel: str) -> None:
        self.line.append((len(self.line) + 1, channel))

    def ask(self, request: Any) -> None:
        if isinstance(request, UnsubscribeRequest):
            for name in request.channels:
                self.places.pop(name, None)
            self.out.append(Unsubscribed(request.id, request.channels))
            return
        assert isinstance(request, SubscribeRequest)
        start = len(self.line)
        if request.position is not None:
            start = 0 if request.position == "0" else position_in(request.position).global_id
        self.places.update(dict.fromkeys(request.channels, start))
        self.out.append(Subscribed(request.id, request.channels, [], f"e-{start}"))
        self.marks.append((request.id, len(self.line)))

    def step(self) -> None:
        """Read on by one message, at the place of whoever is furthest behind."""
        if not self.places:
            self._mark(len(self.line))
            return
        place = min(self.places.values())
        self._mark(place)
        if place >= len(self.line):
            self.out.append(Moved(f"e-{place}"))
            return
        number, channel = self.line[place]
        if channel in self.places and self.places[channel] < number:
            message_id = sum(name == channel for _, name in self.line[:number])
            self.out.append(
                Pushed(
                    channel=channel, message_id=message_id, global_id=number, published_at=0.0,
                    data=number,
                )
            )  # fmt: skip
        self.places = {name: max(at, number) for name, at in self.places.items()}
        self._mark(min(self.places.values()))

    def _mark(self, place: int) -> None:
        for mark in tuple(self.marks):
            if place >= mark[1]:
                self.marks.remove(mark)
                self.out.append(Live(mark[0], f"e-{place}"))


def on_push(talk: Conversation, push: Any, full: set[str]) -> None:
    if isinstance(push, Pushed):
        for feed in talk.readers(push):
            if feed.names[0] in full:
                feed.is_parked = True
                talk.skip(feed)
            else:
                feed.push(feed.cursor.take(push), 1)
    elif isinstance(push, Moved):
        for feed in talk.live:
            assert feed.cursor.move(position_in(push.position)) is None
    else:
        talk.on_answer(push)


class World:
    """Hold a line, a server, a client's side of one connection, and its feeds."""

    def __init__(self) -> None:
        self.server, self.talk = ModelServer(), Conversation()
        self.full: set[str] = set()
        self.feeds: list[SocketFeed] = [
            Feed((name,), Cursor(Position("e", 0)), SETTINGS) for name in NAMES
        ]

    def publish(self, name: str) -> None:
        self.server.publish(name)

    def fill(self, name: str) -> None:
        self.full.add(name)

    def drain(self, name: str) -> None:
        self.full.discard(name)
        for feed in self.feeds:
            feed.is_parked = feed.is_parked and feed.names[0] != name

    def ask(self, _: str) -> None:
        if (request := self.talk.next_request(self.feeds)) is not None:
            self.server.ask(msgspec.convert(request, type(request)))

    def step(self, _: str) -> None:
        self.server.step()

    def hear(self, _: str) -> None:
        if self.server.out:
            on_push(self.talk, self.server.out.pop(0), self.full)

    def cut(self, _: str) -> None:
        self.server.connect()
        self.talk = Conversation()

    def turn(self, _: str) -> None:
        for act in (self.ask, self.step, self.hear, self.hear):
            act("")

    def settle(self) -> None:
        for name in NAMES:
            self.drain(name)
        for _ in range(4 * len(self.server.line) + 60):
            self.turn("")
        while self.server.out:
            self.hear("")


ACTS = ("publish", "turn", "publish", "turn", "fill", "drain", "ask", "step", "hear", "cut")


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(NAMES)), max_size=80))
def test_every_feed_gets_its_channel_once_and_in_order(acts: list[tuple[str, str]]) -> None:
    world = World()
    for act, name in acts:
        getattr(world, act)(name)
    world.settle()
    for feed in world.feeds:
        got = [item.global_id for item in feed.buffered if isinstance(item, Message)]
        assert got == [number for number, name in world.server.line if name == feed.names[0]]
