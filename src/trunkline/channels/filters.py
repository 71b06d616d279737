"""Message filters: the application's own last word on which client sees which message."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

from trunkline.model.identity import Viewer
from trunkline.model.message import Message

logger = logging.getLogger("trunkline.channels")

Decide = Callable[[Message, Viewer], bool]


class MessageFilter:
    """Decide about messages of channels whose names start with *prefix*.

    Args:
        prefix: Start of the channel names it applies to.
        decide: Called with the message and the viewer; a false answer withholds the message.
    """

    __slots__ = ("_decide", "prefix")

    def __init__(self, prefix: str, decide: Decide) -> None:
        self.prefix = prefix
        self._decide = decide

    def admits(self, message: Message, viewer: Viewer) -> bool:
        """Tell whether *viewer* may see *message*; a filter that raises withholds it."""
        try:
            return bool(self._decide(message, viewer))
        except Exception:
            logger.exception("filter for %s raised: the message is withheld", self.prefix)
            return False


class Filters:
    """Hold the registered filters, and find those for a channel."""

    def __init__(self) -> None:
        self._filters: tuple[MessageFilter, ...] = ()
        self._for_name = lru_cache(maxsize=4096)(self._find)

    def add(self, prefix: str, decide: Decide) -> MessageFilter:
        """Register a filter; the last registered is asked first.

        Args:
            prefix: Start of the channel names it applies to.
            decide: As for :class:`MessageFilter`.

        Returns:
            The filter, for :meth:`remove`.
        """
        added = MessageFilter(prefix, decide)
        self._filters = (added, *self._filters)
        self._for_name.cache_clear()
        return added

    def remove(self, added: MessageFilter) -> None:
        """Take a filter back."""
        self._filters = tuple(one for one in self._filters if one is not added)
        self._for_name.cache_clear()

    def for_name(self, name: str) -> tuple[MessageFilter, ...]:
        """Return the filters that apply to a channel, in the order to ask them."""
        return self._for_name(name) if self._filters else ()

    def _find(self, name: str) -> tuple[MessageFilter, ...]:
        return tuple(one for one in self._filters if name.startswith(one.prefix))
