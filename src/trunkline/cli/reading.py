"""``trunkline tail``, ``backlog`` and ``last-id``: messages as lines of text or of JSON."""

from __future__ import annotations

import re
import sys
import time
from typing import Final, NamedTuple

from trunkline.app import Trunkline
from trunkline.channels.bus import SubscribeOptions
from trunkline.channels.catchup import Gap
from trunkline.cli.outcome import warn
from trunkline.model import codec
from trunkline.model.message import Message
from trunkline.model.pattern import is_pattern

PAGE: Final = 1000
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Printer:
    """Print messages, one a line.

    Args:
        as_json: Print message objects; else id and data, with time and channel where they help.
        names_channel: Whether several channels are mixed.
    """

    def __init__(self, *, as_json: bool, names_channel: bool = False) -> None:
        self._as_json = as_json
        self._names_channel = names_channel
        self._is_terminal = sys.stdout.isatty()

    def text(self, message: Message) -> str:
        """Return a message's line."""
        if self._as_json:
            return codec.encode(_object_of(message)).decode()
        data = message.data
        shown = data if isinstance(data, str) else codec.encode(data).decode()
        if _CONTROL.search(shown):
            # What would move a terminal's cursor, or end the line, is shown as JSON escapes it.
            shown = codec.encode(shown).decode().replace("\x7f", "\\u007f")
            shown = re.sub(r"[\x80-\x9f]", lambda one: f"\\u{ord(one[0]):04x}", shown)
        parts = [str(message.message_id), *([message.channel] * self._names_channel), shown]
        if not self._is_terminal:
            return "\t".join(parts)
        clock = time.strftime("%H:%M:%S", time.localtime(message.published_at))
        return f"\x1b[2m{clock}\x1b[0m \x1b[36m{'  '.join(parts[:-1])}\x1b[0m  {shown}"

    def print(self, message: Message) -> None:
        """Print a message."""
        sys.stdout.write(self.text(message) + "\n")


def _object_of(message: Message) -> dict[str, object]:
    """Return a message as our protocols show it, with the audience that an operator may see."""
    shown: dict[str, object] = {
        "channel": message.channel,
        "message_id": message.message_id,
        "global_id": message.global_id,
        "published_at": message.published_at,
        "data": message.data,
    }
    if message.headers:
        shown["headers"] = dict(message.headers)
    if message.site_id is not None:
        shown["site_id"] = message.site_id
    for name in ("user_ids", "group_ids", "client_ids"):
        if (ids := getattr(message, name)) is not None:
            shown[name] = list(ids)
    return shown


async def tail(
    line: Trunkline, channel: str, options: SubscribeOptions, *, count: int | None, as_json: bool
) -> None:
    """Print messages as they come.

    Args:
        line: The line.
        channel: A name or pattern.
        options: Where to begin.
        count: End after so many; None for never.
        as_json: Whether to print JSON.
    """
    printer = Printer(as_json=as_json, names_channel=is_pattern(channel))
    options["on_gap"] = _tell_gap
    async with line, line.subscribe(channel, **options) as subscription:
        left = count
        if left == 0:
            return
        async for message in subscription:
            printer.print(message)
            sys.stdout.flush()
            if left is not None:
                left -= 1
                if left == 0:
                    return


def _tell_gap(gap: Gap) -> None:
    warn(f"messages are missing here ({gap.reason}): going on after {gap.position.global_id}")


class Span(NamedTuple):
    """Say which messages of a channel.

    Args:
        after: Begin after this message id.
        limit: Messages at most; None for all.
        site_id: The tenant.
    """

    after: int
    limit: int | None
    site_id: str | None


async def backlog(line: Trunkline, channel: str, span: Span, *, as_json: bool) -> None:
    """Print the kept messages of a channel, a page at a time.

    Args:
        line: The line.
        channel: The channel's name.
        span: Which messages.
        as_json: Whether to print JSON.
    """
    after, limit, site_id = span
    printer = Printer(as_json=as_json)
    async with line:
        head: int | None = None
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(PAGE, limit)
            page = await line.backlog(channel, after, limit=size, site_id=site_id)
            head = page.head if head is None else head
            if head == 0:
                warn(f"nothing was published to {channel!r} yet: is the name right?")
            if not page.is_complete:
                warn(f"messages {after + 1} to {page.floor} are trimmed")
            for message in page:
                if message.message_id <= head:
                    printer.print(message)
            if not page or page[-1].message_id >= head:
                return
            after = page[-1].message_id
            limit = None if limit is None else limit - len(page)


async def last_id(line: Trunkline, channel: str, *, site_id: str | None, as_json: bool) -> None:
    """Print the newest message id of a channel.

    Args:
        line: The line.
        channel: The channel's name.
        site_id: The tenant.
        as_json: Whether to print JSON.
    """
    async with line:
        last = await line.last_id(channel, site_id=site_id)
    if as_json:
        print(codec.encode({"channel": channel, "last_id": last}).decode())
    else:
        print(last)
