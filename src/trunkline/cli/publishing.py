"""``trunkline publish``: one message from an argument, or many from standard input."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from trunkline.app import Trunkline
from trunkline.channels.bus import Publication
from trunkline.channels.drafting import PublishOptions
from trunkline.cli.outcome import warn
from trunkline.cli.source import LineSource, too_long
from trunkline.errors import (
    ConflictError,
    LogError,
    TrunklineError,
    UsageError,
)
from trunkline.model import codec
from trunkline.model.message import MAX_MESSAGE_BYTES, Receipt

BATCH = 500
MAX_UNDER_WAY = 8

Outcome = Sequence[Receipt] | TrunklineError


class LineFormat(NamedTuple):
    """Say how a line of standard input becomes data.

    Args:
        is_json: Each line is JSON; else each is text.
        replaces: Bytes that are no UTF-8 are replaced; else they are refused.
    """

    is_json: bool = False
    replaces: bool = False

    def data(self, line: bytes, number: int) -> Any:
        """Return a line's data.

        Args:
            line: Without its line feed.
            number: Counted from 1, for the error.

        Raises:
            UsageError: The line is not UTF-8, or no JSON.
        """
        try:
            text = line.decode("utf-8", "replace" if self.replaces else "strict")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"line {number} is not UTF-8 (byte {error.start + 1}): say --errors replace to "
                "publish it with a replacement character"
            ) from None
        try:
            data = codec.decode(text.encode()) if self.is_json else text
            size = len(codec.encode(data))
        except ValueError as error:
            raise UsageError(f"line {number} is no JSON: {error}") from None
        if size > MAX_MESSAGE_BYTES:
            raise UsageError(too_long(number))
        return data


class Tally:
    """Count what was published, and show it while it grows.

    Args:
        is_shown: Whether there is a terminal to show it on.
        total: Bytes of input, where they are known.
    """

    def __init__(self, *, is_shown: bool, total: int | None) -> None:
        self.first: Receipt | None = None
        self.last: Receipt | None = None
        self.count = 0
        self._started = time.monotonic()
        self._progress: Any = None
        if is_shown:
            self._show(total)

    def _show(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = [SpinnerColumn(), TextColumn("{task.fields[count]:,} messages")]
        if total:
            columns += [BarColumn(), TextColumn("{task.percentage:>3.0f} %")]
        columns += [TextColumn("{task.fields[rate]:,.0f}/s"), TimeElapsedColumn()]
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._progress.start()
        self._task = self._progress.add_task("", total=total, count=0, rate=0.0)

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Count what was stored."""
        if receipts:
            self.first = self.first or receipts[0]
            self.last = receipts[-1]
            self.count += len(receipts)

    def show(self, bytes_read: int) -> None:
        """Bring the progress up to date."""
        if self._progress is not None:
            rate = self.count / max(1e-6, time.monotonic() - self._started)
            self._progress.update(self._task, completed=bytes_read, count=self.count, rate=rate)

    def close(self) -> None:
        """Take the progress off the terminal."""
        if self._progress is not None:
            self._progress.stop()

    def tell(self, channel: str, *, as_json: bool, is_off: bool) -> None:
        """Print the first and the last id."""
        first = self.first.message_id if self.first else None
        last = self.last.message_id if self.last else None
        if as_json:
            told = {"channel": channel, "count": self.count, "first_id": first, "last_id": last}
            if self.last is not None:
                told["position"] = str(self.last.position)
            print(json.dumps(told))
        elif self.count == 0:
            off = " (the line is switched off)" if is_off else ""
            print(f"nothing published{off}")
        elif self.count == 1:
            print(f"published 1 message: id {last}")
        else:
            print(f"published {self.count} messages: first id {first}, last id {last}")


async def publish_one(
    line: Trunkline, channel: str, text: str, options: PublishOptions, *, as_json: bool
) -> None:
    """Publish an argument: as JSON if it parses, else as text.

    Args:
        line: The line.
        channel: Where to.
        text: The argument.
        options: As for :meth:`Trunkline.publish`.
        as_json: Whether to print JSON.
    """
    tally = Tally(is_shown=False, total=None)
    async with line:
        receipt = await line.publish(channel, _parsed(text), **options)
        tally.add([receipt] if receipt else [])
    tally.tell(channel, as_json=as_json, is_off=line.is_off)


def _parsed(text: str) -> Any:
    try:
        return codec.decode(text.encode())
    except ValueError:
        return text


class LinePublisher:
    """Publish lines as messages of a channel, in order, several batches on their way at once.

    The first batch travels alone, so that a wrong channel or option is found before anything
    follows it; batches with keys always do, for any of them may conflict.

    Args:
        line: The open line.
        channel: Where to.
        options: As for :meth:`Trunkline.publish`; a key becomes ``key:n`` for the n-th line, so
            that a run that was cut off may be repeated.
        form: How a line becomes data.
        tally: Counts.
    """

    def __init__(
        self,
        line: Trunkline,
        channel: str,
        options: PublishOptions,
        *,
        form: LineFormat,
        tally: Tally,
    ) -> None:
        self._line = line
        self._channel = channel
        self._options = options
        self._form = form
        self._tally = tally
        self._under_way: deque[asyncio.Task[Outcome]] = deque()

    async def publish(self, group: asyncio.TaskGroup, lines: Sequence[bytes], first: int) -> None:
        """Publish lines; those before one that can't be published are stored.

        Args:
            group: Owns what is under way.
            lines: At least one.
            first: Number of the first.

        Raises:
            UsageError: A line can't be published; the message names its number.
            LogError: The engine could not store them.
        """
        messages: list[Publication] = []
        wrong: UsageError | None = None
        for number, text in enumerate(lines, first):
            try:
                data = self._form.data(text, number)
            except UsageError as error:
                wrong = error
                break
            messages.append((self._channel, data, self._options_of(number)))
        self._under_way.append(group.create_task(self._attempt(messages)))
        is_sure = self._tally.count > 0 and "key" not in self._options
        while len(self._under_way) > (MAX_UNDER_WAY if is_sure else 0):
            await self._settle(messages, first)
        if wrong is not None:
            await self.drain()
            raise wrong

    async def drain(self) -> None:
        """Wait until everything is stored."""
        while self._under_way:
            await self._settle()

    async def _settle(self, messages: Sequence[Publication] = (), first: int = 0) -> None:
        outcome = await self._under_way.popleft()
        if not isinstance(outcome, TrunklineError):
            self._tally.add(outcome)
            return
        if self._under_way or isinstance(outcome, LogError) or not messages:
            # What follows is past recall: its receipts are counted before the error is told.
            for later in [await task for task in self._under_way]:
                self._tally.add(() if isinstance(later, TrunklineError) else later)
            raise outcome
        await self._find_culprit(messages, first)

    async def _find_culprit(self, messages: Sequence[Publication], first: int) -> None:
        """Store one by one what was refused as a whole, up to the message that is wrong."""
        for number, message in enumerate(messages, first):
            try:
                self._tally.add(await self._line.publish_many([message]))
            except (UsageError, ConflictError) as error:
                raise UsageError(f"line {number} cannot be published: {error}") from error

    async def _attempt(self, messages: Sequence[Publication]) -> Outcome:
        try:
            return await self._line.publish_many(messages)
        except TrunklineError as error:
            return error

    def _options_of(self, number: int) -> PublishOptions:
        key = self._options.get("key")
        return self._options if key is None else {**self._options, "key": f"{key}:{number}"}


async def publish_input(
    line: Trunkline, channel: str, options: PublishOptions, form: LineFormat, *, as_json: bool
) -> None:
    """Publish each line of standard input as a message, in order.

    Args:
        line: The line, not yet open.
        channel: Where to.
        options: As for :class:`LinePublisher`.
        form: How a line becomes data.
        as_json: Whether to print JSON.
    """
    source = LineSource(sys.stdin.fileno())
    tally = Tally(is_shown=sys.stderr.isatty(), total=size_of_input(sys.stdin.fileno()))
    publisher = LinePublisher(line, channel, options, form=form, tally=tally)
    try:
        async with line:
            await _pump(source, publisher, tally)
    except TrunklineError:
        if tally.last is not None:
            warn(
                f"stored before the error: {tally.count}, the last with id {tally.last.message_id}"
            )
        raise
    finally:
        tally.close()
    tally.tell(channel, as_json=as_json, is_off=line.is_off)


async def _pump(source: LineSource, publisher: LinePublisher, tally: Tally) -> None:
    failure: TrunklineError | None = None
    async with asyncio.TaskGroup() as group:
        try:
            async for lines in source:
                first = source.line - len(lines) + 1
                for start in range(0, len(lines), BATCH):
                    await publisher.publish(group, lines[start : start + BATCH], first + start)
                    tally.show(source.bytes_read)
            await publisher.drain()
        except TrunklineError as error:
            failure = error  # raised outside, for a task group would wrap it
    if failure is not None:
        raise failure


def size_of_input(descriptor: int) -> int | None:
    """Return how many bytes a descriptor will give, or None when that can't be known."""
    status = os.fstat(descriptor)
    return status.st_size or None if stat.S_ISREG(status.st_mode) else None
