"""Signals: what a host tells customers' apps, as a class for each kind of notice.

A signal is fired with an object or its id. What the app receives is made when it is sent, from
the state then; what would be gone by then is captured when it is fired, as context.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Final

from trunkline.errors import ConfigError
from trunkline.webhooks.errors import SignalError
from trunkline.webhooks.keys import Key, checked_key

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")
ACTION: Final = re.compile(r"[a-z][a-z0-9_]{0,99}\Z")
WILDCARD: Final = "*"
#: How deep a context may nest.
DEPTH: Final = 32


class Signal:
    """Be one kind of notice; subclass it, and declare the subclass with a line.

    ``payload`` gives what is sent, ``<action>_payload`` what is sent for one action,
    ``<action>_context`` what is captured when that action is fired. Each may be asynchronous; a
    synchronous payload runs in a thread, so that it may wait for a database.

    Args:
        object_or_id: The object, or its id: text, a UUID or a whole number. An object without
            an id, or None, can be sent from its context alone.
        account_id: Whose notice it is.
        context: Captured values, strict JSON.

    Attributes:
        signal_name: What apps ask for. Needed.
        object_class: Has ``find(id)``, which loads an object; needed unless :meth:`find` is
            overridden.
        account_type: Kind of the account.
        actions: The actions there are; empty for any.
        demuxer: Resolves it, instead of the line's demuxer; a class, or its ``module:name``.

    Raises:
        SignalError: An id or the context can't be used.
    """

    signal_name: ClassVar[str]
    object_class: ClassVar[Any] = None
    account_type: ClassVar[str] = "account"
    actions: ClassVar[tuple[str, ...]] = ()
    demuxer: ClassVar[type[Any] | str | None] = None

    def __init__(
        self, object_or_id: Any, *, account_id: Key, context: Mapping[str, Any] | None = None
    ) -> None:
        self._has_object = object_or_id is not None and not _is_id(object_or_id)
        self._object = object_or_id if self._has_object else None
        found = self.identify(object_or_id) if self._has_object else object_or_id
        self._object_id = None if found is None else checked_key("the object's id", found)
        self._account_id = checked_key("account_id", account_id)
        self._context: dict[str, Any] = checked_context(context or {})

    # -- what subclasses read -----------------------------------------------------------------

    @property
    def object_id(self) -> Key | None:
        """Return the object's id as it was given, type and all; None if it has none."""
        return self._object_id

    @property
    def account_id(self) -> Key:
        """Return whose notice it is."""
        return self._account_id

    @property
    def context(self) -> dict[str, Any]:
        """Return what was captured when it was fired."""
        return self._context

    @property
    def object(self) -> Any:
        """Return the object, loaded at the first use unless it was given.

        Raises:
            SignalError: It has no id, or :meth:`find` is asynchronous: await :meth:`load`.
        """
        if not self._has_object:
            found = self._find()
            if inspect.isawaitable(found):
                if inspect.iscoroutine(found):
                    found.close()
                raise SignalError(
                    f"{type(self).__name__} finds its object asynchronously: write "
                    "'await self.load()' in an 'async def payload'"
                )
            self._keep(found)
        return self._object

    async def load(self) -> Any:
        """Return the object, loaded at the first use unless it was given.

        Raises:
            SignalError: It has no id.
        """
        if not self._has_object:
            found = self._find()
            self._keep(await found if inspect.isawaitable(found) else found)
        return self._object

    def _find(self) -> Any:
        if self._object_id is None:
            raise SignalError(
                f"this {type(self).__name__} has no object to look at: it was fired for an "
                "object without an id, so its payload has nothing but the context"
            )
        return self.find(self._object_id)

    def _keep(self, found: Any) -> None:
        if found is None:
            raise SignalError(f"{type(self).__name__} {self._object_id!r}: its object is gone")
        self._object, self._has_object = found, True

    # -- what subclasses may override ---------------------------------------------------------

    def identify(self, given: Any) -> Any:
        """Return the id of an object that was given: its ``id``, or None."""
        return getattr(given, "id", None)

    def find(self, object_id: Any) -> Any | Awaitable[Any]:
        """Load an object; None, or an error, if there is none any more."""
        return self.object_class.find(object_id)

    def payload(self) -> Any:
        """Return what is sent: a mapping, a dataclass or a msgspec struct."""
        raise NotImplementedError

    def order_key(self) -> str | None:
        """Return a key whose notices reach an app one after another; None for no order."""
        return None

    # -- what the room calls ------------------------------------------------------------------

    def payload_for(self, action: str) -> Any:
        """Return the bound method that makes an action's payload."""
        return getattr(self, f"{action}_payload", self.payload)

    def context_for(self, action: str) -> Any:
        """Return the bound method that captures an action's context, or None."""
        return getattr(self, f"{action}_context", None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._object_id!r} of {self._account_id!r}>"


def _is_id(given: Any) -> bool:
    from uuid import UUID

    return isinstance(given, str | int | UUID)


def checked_action(signal: Signal, action: str) -> str:
    """Return an action.

    Args:
        signal: What it happens to.
        action: Its name.

    Raises:
        SignalError: It is none, or none of those the signal has.
    """
    if not isinstance(action, str) or not ACTION.match(action):
        raise SignalError(f"action {action!r} must be a lowercase word such as 'updated'")
    if signal.actions and action not in signal.actions:
        raise SignalError(
            f"{type(signal).__name__} has no action {action!r}: it has {', '.join(signal.actions)}"
        )
    return action


def checked_context(given: Any, depth: int = 0) -> Any:
    """Return a context, all of whose keys are text.

    Raises:
        SignalError: It isn't a mapping, has other keys, or nests too deep.
    """
    if depth == 0 and not isinstance(given, Mapping):
        raise SignalError(f"a context is a mapping, not {type(given).__name__}")
    if depth > DEPTH:
        raise SignalError(f"a context nests at most {DEPTH} deep")
    if isinstance(given, Mapping):
        for key in given:
            if not isinstance(key, str):
                raise SignalError(f"the context's key {key!r} must be text, as JSON keeps it")
        return {key: checked_context(value, depth + 1) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [checked_context(value, depth + 1) for value in given]
    return given


def check_class(cls: type[Signal]) -> None:
    """Check a subclass as it is declared.

    Raises:
        ConfigError: Something is missing or makes no sense; the message says what.
    """
    if not (isinstance(cls, type) and issubclass(cls, Signal)):
        raise ConfigError(f"{cls!r} is no Signal: subclass trunkline.webhooks.signal.Signal")
    name = getattr(cls, "signal_name", None)
    if not isinstance(name, str) or not NAME.match(name):
        raise ConfigError(
            f"{cls.__name__}.signal_name={name!r}: give it a name of letters, digits, '_', '.', "
            "'-', which apps ask for"
        )
    if not isinstance(cls.account_type, str) or not NAME.match(cls.account_type):
        raise ConfigError(f"{cls.__name__}.account_type={cls.account_type!r} must be a name")
    if cls.find is Signal.find and not callable(getattr(cls.object_class, "find", None)):
        raise ConfigError(
            f"{cls.__name__}.object_class={cls.object_class!r} has no find(id): name a class "
            f"that has, or override {cls.__name__}.find"
        )
    _check_actions(cls)


def _check_actions(cls: type[Signal]) -> None:
    given: Any = cls.actions
    if isinstance(given, str) or not all(ACTION.match(one) for one in cls.actions):
        raise ConfigError(f"{cls.__name__}.actions={cls.actions!r} must be lowercase words")
    bare = [one for one in cls.actions if not callable(getattr(cls, f"{one}_payload", None))]
    if cls.payload is Signal.payload and (bare or not cls.actions):
        missing = f"{bare[0]}_payload" if bare else "payload"
        raise ConfigError(f"{cls.__name__} has no payload: define payload or {missing}")
