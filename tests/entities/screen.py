"""A screen: a client that watches entities and keeps what it is shown, over any reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import json

import websockets

MISSING = object()
GONE = "gone"


class Screen:
    """Watch entities over ``/ws`` and hold the latest of each."""

    def __init__(self, port, *, query="", secret=None):
        self.port = port
        self.query = query
        self.secret = secret
        self.shown = {}
        self.versions = {}
        self.refused = {}
        self.failures = []
        self.pushes = []
        self.current = []
        self.replies = []
        self.others = []
        self.watched = {}
        self._number = 0
        self._answers = {}
        self._ws = None
        self._reader = None
        self._moved = asyncio.Event()

    async def __aenter__(self):
        await self.connect()
        return self

    async def __aexit__(self, *_):
        await self.disconnect()

    async def connect(self):
        url = f"ws://127.0.0.1:{self.port}/ws{self.query}"
        self._ws = await websockets.connect(url, compression=None, max_size=None)
        self._reader = asyncio.create_task(self._read(self._ws))
        if self.secret is not None:
            await self.ask("secret", secret=self.secret)
        if self.watched:
            await self._watch(list(self.watched))

    async def disconnect(self):
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            with contextlib.suppress(OSError, websockets.WebSocketException):
                await self._ws.close()

    @property
    def is_connected(self):
        return self._reader is not None and not self._reader.done()

    async def watch(self, *keys):
        self.watched.update(dict.fromkeys(keys))
        return await self._watch(keys)

    async def _watch(self, keys):
        named = [
            {"entity": entity, "id": key_id, "version": self.versions.get((entity, key_id))}
            for entity, key_id in keys
        ]
        told = await self.ask("watch", entities=named)
        for one in told.get("refused", ()):
            self.refused[one["entity"], one["id"]] = one["code"]
        self.current += [(one["entity"], one["id"]) for one in told.get("current", ())]
        return told

    async def unwatch(self, *keys):
        for key in keys:
            self.watched.pop(key, None)
        return await self.ask("unwatch", entities=[{"entity": e, "id": i} for e, i in keys])

    async def ask(self, kind, **members):
        self._number += 1
        number = self._number
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._ws.send(json.dumps({"id": number, "type": kind, **members}))
        async with asyncio.timeout(15):
            return await answer

    async def send(self, text):
        await self._ws.send(text)

    async def _read(self, ws):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in ws:
                self._take(json.loads(text))
                self._moved.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("closed"))
                answer.exception()
        self._moved.set()

    def _take(self, told):
        key = (told.get("entity"), told.get("id"))
        match told["type"]:
            case "entity":
                self._admit(key, told, [row["value"] for row in told["rows"]])
            case "removed":
                self._admit(key, told, GONE)
            case "failed":
                self.failures.append((key, told["code"]))
            case "refused":
                for one in told["refused"]:
                    self.refused[one["entity"], one["id"]] = one["code"]
            case "reply":
                self.replies.append(told)
            case "position":
                pass
            case _:
                answer = self._answers.pop(told.get("id"), None)
                if answer is not None and not answer.done():
                    answer.set_result(told)
                else:
                    self.others.append(told)

    def _admit(self, key, told, value):
        """Take a state unless it is older than what is shown: which must never come."""
        assert not is_older(told["version"], self.versions.get(key)), (told, self.versions[key])
        self.versions[key] = told["version"]
        self.shown[key] = value
        self.pushes.append((key, value))

    async def until(self, holds, within=15.0):
        """Wait until a condition holds, looked at after every message."""
        async with asyncio.timeout(within):
            while not holds(self):
                self._moved.clear()
                await self._moved.wait()

    async def shows(self, key, value, within=15.0):
        """Wait until an entity is shown so: one row, several in a list, or GONE."""
        wanted = value if value == GONE or isinstance(value, list) else [value]
        try:
            await self.until(lambda one: one.shown.get(key, MISSING) == wanted, within)
        except TimeoutError:
            raise AssertionError(f"{key} shows {self.shown.get(key)}, wanted {wanted}") from None


def is_older(version, known):
    if known is None:
        return False
    (epoch, number), (before, least) = (
        one.partition(".")[0].split("-") for one in (version, known)
    )
    return epoch == before and int(number) < int(least)
