"""A subscription for synchronous code: a plain iterator that goes on after a fork."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from trunkline.channels.subscription import Subscription
from trunkline.errors import LineClosedError
from trunkline.model.message import Message
from trunkline.sync.mirror import Caller

Subscribe = Callable[..., Subscription]


class Iteration:
    """Iterate over messages, waiting for each, until closed.

    Args:
        subscribe: Makes the subscription anew after the line was closed for a fork.
        caller: Runs its steps on the loop; a fork doesn't wait for them.
        options: What the subscription was asked for.
        generation: Tells how often the line was closed for a fork.
    """

    def __init__(
        self,
        subscribe: Subscribe,
        caller: Caller,
        options: dict[str, Any],
        generation: Callable[[], int],
    ) -> None:
        self._subscribe = subscribe
        self._caller = caller
        self._options = options
        self._generation = generation
        self._made_in = generation()
        self._last: Message | None = None
        self._is_closed = False
        self.subscription: Subscription = caller.call(subscribe, **options)

    def open(self) -> Self:
        """Begin now, so that nothing published from here on is missed. Idempotent."""
        self._caller.call(self.subscription.open)
        return self

    def close(self) -> None:
        """End the iteration, also one that waits in another thread. Idempotent."""
        self._is_closed = True
        self._caller.call(self.subscription.close)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        while True:
            try:
                self._last = self._caller.call(anext, self.subscription)
            except (StopAsyncIteration, LineClosedError):
                if self._is_closed or self._made_in == self._generation():
                    raise StopIteration from None
                self._begin_anew()
            else:
                return self._last

    def _begin_anew(self) -> None:
        self._made_in = self._generation()
        self._options = resumed(self._options, self.subscription, self._last)
        self.subscription = self._caller.call(self._subscribe, **self._options)


def resumed(
    options: dict[str, Any], subscription: Subscription, last: Message | None
) -> dict[str, Any]:
    """Return the options of a subscription that goes on where another ended.

    Args:
        options: What the other was asked for.
        subscription: The other.
        last: The last message that it gave.

    Raises:
        LineClosedError: It was in the middle of several channels' backlogs, which have no one
            position.
    """
    kept: dict[str, Any] = {
        name: options[name] for name in ("site_id", "on_gap") if name in options
    }
    if subscription.position is not None:
        return {**kept, "channels": options["channels"], "position": subscription.position}
    if last is None:
        return options
    if not isinstance(options["channels"], str):
        raise LineClosedError(
            "the process forked while the backlogs of several channels were read: subscribe again"
        )
    return {**kept, "channels": options["channels"], "after": last.message_id}
