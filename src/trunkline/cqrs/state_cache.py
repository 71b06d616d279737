"""States that were committed, remembered so that only newer events need to be read."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from trunkline.model.channel import ChannelKey

#: States remembered by a process.
CACHED: Final = 10_000


class Loaded(NamedTuple):
    """Be a state at a version."""

    version: int
    state: Any


class StateCache:
    """Remember committed states, the latest used ones.

    Args:
        size: How many.
    """

    def __init__(self, size: int = CACHED) -> None:
        self._size = size
        #: The line's epoch they belong to; empty while it is not known.
        self.epoch = ""
        self._states: OrderedDict[ChannelKey, Loaded] = OrderedDict()

    def get(self, channel: ChannelKey) -> Loaded | None:
        """Return what is remembered of a stream; it may be out of date."""
        found = self._states.get(channel)
        if found is not None:
            self._states.move_to_end(channel)
        return found

    def put(self, channel: ChannelKey, loaded: Loaded) -> None:
        """Remember a committed state, unless a later one is known."""
        known = self._states.get(channel)
        if known is not None and known.version > loaded.version:
            return
        self._states[channel] = loaded
        self._states.move_to_end(channel)
        if len(self._states) > self._size:
            self._states.popitem(last=False)

    def adopt(self, epoch: str) -> bool:
        """Belong to an epoch; tell whether states of another one were forgotten."""
        if not epoch or epoch == self.epoch:
            return False
        is_other, self.epoch = bool(self.epoch), epoch
        if is_other:
            self.clear()
        return is_other

    def forget(self, channel: ChannelKey) -> None:
        """Forget a stream, for what is remembered proved wrong."""
        self._states.pop(channel, None)

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()
