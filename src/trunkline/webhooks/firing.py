"""Firing: from a signal in an application's hand to a notice on the line, transaction or not.

A notice is resolved after the commit of what it tells about. It travels on a channel of
Trunkline's own: with the line's transaction, with a guest's through the outbox, or alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from trunkline.channels.drafting import draft_of
from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.webhooks.catalogue import Catalogue
from trunkline.webhooks.demuxer import Demuxer, demuxer_class, is_plain
from trunkline.webhooks.errors import SignalError
from trunkline.webhooks.notice import Notice, notice_of
from trunkline.webhooks.signal import Signal, checked_action, checked_context

#: Notices that the worker resolves in bulk, in the transaction of its checkpoint.
PLAIN: Final = "/__trunkline/signals"
#: Notices whose demuxer is the application's, one by one and outside of any transaction.
CUSTOM: Final = "/__trunkline/demux"

Resolve = Callable[[Notice], Awaitable[None]]


class Firing:
    """Fire signals.

    Args:
        premises: What the wing works with.
        catalogue: The declared signals.
        default: Resolves signals without a demuxer of their own.
        resolve: Resolves a notice in this process.
    """

    def __init__(
        self, premises: Premises, catalogue: Catalogue, default: type[Demuxer], resolve: Resolve
    ) -> None:
        self._premises = premises
        self._catalogue = catalogue
        self._default = default
        self._resolve = resolve

    def demuxer_of(self, cls: type[Signal]) -> type[Demuxer]:
        """Return the demuxer of a signal's class.

        Raises:
            ConfigError: Its demuxer is none.
        """
        return self._default if cls.demuxer is None else demuxer_class(cls.demuxer)

    async def fire(
        self, signal: Signal, action: str, context: Mapping[str, Any] | None, tx: Any
    ) -> None:
        """Fire a signal; as for :meth:`trunkline.webhooks.wing.Webhooks.fire`."""
        self._catalogue.check(signal)
        captured = self._captured(signal, action)
        if inspect.isawaitable(captured):
            captured = await captured
        notice = self._notice(signal, action, captured, context)
        cls = self.demuxer_of(type(signal))
        if isinstance(tx, LineTransaction):
            if cls.is_immediate:
                tx.after_commit(partial(self._resolve, notice))
            else:
                tx.publish_internal(_channel(cls), notice.to_json())
            return
        await self._premises.bus.be_ready()
        if tx is not None:
            await self._premises.store.publish(tx, [_draft(cls, notice)])
        elif cls.is_immediate:
            await self._resolve(notice)
        else:
            await self._premises.bus.publish_internal(_channel(cls), notice.to_json())

    def fire_in(
        self, tx: Any, signal: Signal, action: str, context: Mapping[str, Any] | None
    ) -> None:
        """Fire a signal from synchronous code, inside its transaction."""
        self._catalogue.check(signal)
        captured = self._captured(signal, action)
        if inspect.isawaitable(captured):
            if inspect.iscoroutine(captured):
                captured.close()
            raise SignalError(
                f"{type(signal).__name__}.{action}_context is asynchronous: await line.signal(…), "
                "or give the context here"
            )
        notice = self._notice(signal, action, captured, context)
        draft = _draft(self.demuxer_of(type(signal)), notice)
        self._premises.store.publish_now(tx, [draft])

    def _captured(self, signal: Signal, action: str) -> Any:
        method = signal.context_for(checked_action(signal, action))
        return {} if method is None else method()

    def _notice(
        self, signal: Signal, action: str, captured: Any, context: Mapping[str, Any] | None
    ) -> Notice:
        merged = {**checked_context(captured), **checked_context(context or {})}
        return notice_of(signal, action, merged, fired_at=self._premises.clock.now())


def _channel(cls: type[Demuxer]) -> str:
    return PLAIN if is_plain(cls) else CUSTOM


def _draft(cls: type[Demuxer], notice: Notice) -> Any:
    return draft_of(_channel(cls), notice.to_json(), {}, site_id=None, internal=True)
