"""The demo's board: a few items that everybody sees and anybody edits, kept on the line itself."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from trunkline.app import Trunkline
from trunkline.entities import EntityKey, Viewer
from trunkline.errors import UsageError
from trunkline.model.message import Limits

ITEMS: Final = ("1", "2", "3", "4", "5", "6")
ENTITY: Final = "items"
CHANNEL: Final = "/demo/items/"
LIMITS: Final = Limits(max_backlog_size=1, max_backlog_age=None)


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Be an item of the board as somebody left it.

    Args:
        id: Which one.
        text: What it says.
        done: Whether it is done.
    """

    id: str
    text: Annotated[str, msgspec.Meta(max_length=60)]
    done: bool = False


_decoder = msgspec.json.Decoder(Item)


class Board:
    """Keep the items.

    Args:
        line: The line; each item is the last message of a channel of its own.
    """

    def __init__(self, line: Trunkline) -> None:
        self._line = line
        line.entity(ENTITY, scope=lambda _: None)(self._fetch)

    async def _fetch(self, key: EntityKey, _: Viewer) -> Any:
        if key.id not in ITEMS:
            return None
        last = await self._line.last_message(CHANNEL + key.id)
        return {"text": "", "done": False} if last is None else last.data

    async def save(self, body: bytes) -> None:
        """Keep an item as somebody left it, and show it to everybody.

        Args:
            body: An :class:`Item` as JSON.

        Raises:
            UsageError: It is none.
        """
        try:
            item = _decoder.decode(body)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise UsageError(f"leave an item as {{id, text, done}}: {error}") from error
        if item.id not in ITEMS:
            raise UsageError(f"there is no item {item.id[:20]!r} on the board")
        left = {"text": item.text.strip(), "done": item.done}
        await self._line.publish(CHANNEL + item.id, left)
        await self._line.changed(ENTITY, item.id)
