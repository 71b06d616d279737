"""What a handler's annotations say: what it takes, what else it wants, what it gives back.

Everything is read once, when the handler is registered, so that a mistake shows at start and a call
costs no inspection.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from trunkline.cqrs.pattern import NamePattern
from trunkline.errors import ConfigError, UsageError


class _Anything:
    """Be the subject of a handler that takes whatever there is."""

    def __repr__(self) -> str:
        return "ANY"


#: The subject of a handler that takes whatever its patterns match.
ANY: Final = _Anything()

#: Parameters that are known by their names alone.
BY_NAME: Final = ("tx", "ctx", "state", "recorded")
#: Where :meth:`Signature.call` looks for what a pattern captured.
PARAMS: Final = "params"

_TEXTUAL = (str, int, float, bool, UUID, Decimal, date, datetime, time, Enum)
_MISSING = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Extra:
    """Be a parameter beside the subject.

    Args:
        name: The parameter's name.
        role: Where its value comes from: ``tx``, ``ctx``, ``state``, ``params``, or a role that
            the caller knows by type.
        annotation: Its type, or ``str`` when it has none.
        default: What it is when nothing is supplied; ``inspect.Parameter.empty`` if it must be.
    """

    name: str
    role: str
    annotation: Any
    default: Any = _MISSING

    @property
    def is_required(self) -> bool:
        """Tell whether a call without it is impossible."""
        return self.default is _MISSING

    def value(self, handler: str, supplies: Mapping[str, Any]) -> Any:
        """Return its value from what is supplied.

        Args:
            handler: The handler's name, for the error.
            supplies: By role; what a pattern captured under ``params``.

        Raises:
            UsageError: A captured text is not of its type, or nothing is supplied.
        """
        if self.role != PARAMS:
            if self.role in supplies:
                return supplies[self.role]
        elif (captured := supplies.get(PARAMS, {}).get(self.name)) is not None:
            return self._converted(handler, captured)
        if self.default is not _MISSING:
            return self.default
        if self.role == PARAMS and _allows_none(self.annotation):
            return None
        raise UsageError(f"{handler} needs {self.name!r} ({self.role}), and nobody supplies it")

    def _converted(self, handler: str, captured: Any) -> Any:
        if self.annotation is str:
            return captured
        try:
            return msgspec.convert(captured, self.annotation, strict=False)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{handler} wants {self.name!r} as {_named(self.annotation)}, and the name has "
                f"{captured!r:.80}: {error}"
            ) from error


@dataclass(frozen=True, slots=True)
class Signature:
    """Be what a handler's annotations say.

    Args:
        function: The handler.
        name: Its name, for errors and tables.
        subject: The types that its first parameter accepts, or :data:`ANY`.
        is_batch: Whether its first parameter is a list of them.
        extras: The parameters it wants beside the subject.
        returns: The types it says it gives back or yields; empty when it says nothing.
        is_generator: Whether it yields, plainly or asynchronously.
        is_async: Whether a call must be awaited or iterated asynchronously.
    """

    function: Callable[..., Any]
    name: str
    subject: tuple[type, ...] | _Anything
    is_batch: bool
    extras: tuple[Extra, ...]
    returns: tuple[Any, ...]
    is_generator: bool
    is_async: bool

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        by_type: Mapping[type, str] | None = None,
        any_of: Iterable[type] = (),
    ) -> Signature:
        """Read a handler's annotations.

        Args:
            function: The handler. Its first parameter is the subject.
            by_type: Roles of parameters that are known by their types, such as a transaction's.
            any_of: Types that as the subject mean :data:`ANY`, such as the base of all events.

        Returns:
            What they say.

        Raises:
            ConfigError: It takes no subject, wants what nobody knows, or an annotation can't be
                resolved.
        """
        name = getattr(function, "__qualname__", type(function).__name__)
        hints = _hints(function, name)
        parameters = [*inspect.signature(function).parameters.values()]
        if not parameters or parameters[0].kind not in _POSITIONAL:
            raise ConfigError(f"{name} takes nothing: its first parameter is what it handles")
        subject, is_batch = _subject(hints.get(parameters[0].name, Any), frozenset(any_of), name)
        return cls(
            function=function,
            name=name,
            subject=subject,
            is_batch=is_batch,
            extras=tuple(_extra(p, hints, by_type or {}, name) for p in parameters[1:]),
            returns=tuple(_given_back(hints.get("return", Any))),
            is_generator=_is_any(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction),
            is_async=_is_any(function, inspect.iscoroutinefunction, inspect.isasyncgenfunction),
        )

    @property
    def state_type(self) -> Any:
        """Return the type of the state it wants (without None), or None when it wants none."""
        for extra in self.extras:
            if extra.role == "state":
                options = [t for t in _options(extra.annotation) if t is not type(None)]
                return options[0] if options else None
        return None

    def wants(self, role: str) -> bool:
        """Tell whether some parameter has a role."""
        return any(extra.role == role for extra in self.extras)

    def accepts(self, subject: object) -> bool:
        """Tell whether a subject (or, for a batch, one of its members) is of an accepted type."""
        return isinstance(self.subject, _Anything) or isinstance(subject, self.subject)

    def check_pattern(self, pattern: NamePattern) -> None:
        """Check that a pattern supplies the captured parameters it wants.

        Args:
            pattern: One it is registered under.

        Raises:
            ConfigError: It wants one that the pattern has not, or wants one value where a name is
                repeated.
        """
        for extra in self.extras:
            if extra.role != PARAMS:
                continue
            certain = extra.name in set(pattern.parameters) - pattern.optional
            if not certain and extra.is_required and not _allows_none(extra.annotation):
                raise ConfigError(
                    f"{self.name} wants {extra.name!r}, which {pattern.text!r} does not always "
                    f"capture: write ':{extra.name}' there, or give the parameter a default"
                )
            if extra.name in pattern.repeated and extra.annotation in _TEXTUAL:
                raise ConfigError(
                    f"{self.name} wants one {extra.name!r}, which {pattern.text!r} captures "
                    f"several times: annotate it as tuple[{_named(extra.annotation)}, ...]"
                )

    def call(self, subject: Any, supplies: Mapping[str, Any]) -> Any:
        """Call the handler.

        Args:
            subject: A command, an event, or for a batch a list of them.
            supplies: By role, see :attr:`Extra.role`; what a pattern captured under ``params``.

        Returns:
            What the handler returns: a value, an awaitable, or an iterator.

        Raises:
            UsageError: Something it wants is not supplied, or not of its type.
        """
        if not self.extras:
            return self.function(subject)
        wanted = {extra.name: extra.value(self.name, supplies) for extra in self.extras}
        return self.function(subject, **wanted)


def annotated(function: Callable[..., Any]) -> list[tuple[Any, ...]]:
    """Return, for each parameter in order, the types that its annotation allows.

    Args:
        function: Any function; a parameter without annotation allows :data:`typing.Any`.

    Raises:
        ConfigError: An annotation can't be resolved.
    """
    hints = _hints(function, getattr(function, "__qualname__", type(function).__name__))
    names = inspect.signature(function).parameters
    return [tuple(_options(hints.get(name, Any))) for name in names]


_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
_LISTS = {list, tuple, "Sequence", "Iterable", "Iterator", "AsyncIterator", "AsyncIterable"}
_CARRIERS = {"Generator", "AsyncGenerator", "Awaitable", "Coroutine"}


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    inner = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(inner)
    except NameError:  # types of an enclosing function, which annotations as text don't carry
        try:
            return get_type_hints(inner, localns=_surroundings())
        except (NameError, TypeError) as error:
            raise _unresolved(name, error) from error
    except TypeError as error:
        raise _unresolved(name, error) from error


def _surroundings() -> dict[str, Any]:
    """Return the local names of the functions that are registering a handler now."""
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename != __file__:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _unresolved(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"an annotation of {name} can't be resolved ({error}): name types that its module imports "
        f"at run time, not under TYPE_CHECKING"
    )


def _is_any(function: Callable[..., Any], *checks: Callable[[object], bool]) -> bool:
    called = getattr(function, "__call__", function)  # noqa: B004 - the bound method is wanted
    return any(check(function) or check(called) for check in checks)


def _options(annotation: Any) -> list[Any]:
    """Return what a union is made of, or the annotation alone."""
    if isinstance(annotation, TypeVar):
        return _options(annotation.__bound__ or Any)
    if get_origin(annotation) in {Union, types.UnionType}:
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation]


def _subject(
    annotation: Any, any_of: frozenset[type], name: str
) -> tuple[tuple[type, ...] | _Anything, bool]:
    is_batch = get_origin(annotation) is list or annotation is list
    if is_batch:
        annotation = (*get_args(annotation), Any)[0]
    options = [get_origin(option) or option for option in _options(annotation)]
    if any(option in {Any, object} or option in any_of for option in options):
        return ANY, is_batch
    for option in options:
        if not isinstance(option, type) or option is type(None):
            raise ConfigError(
                f"{name} says it handles {_named(option)}: annotate its first parameter with a "
                f"type, a union of types, a list of them for batches, or nothing for any"
            )
    return tuple(options), is_batch


def _extra(
    parameter: inspect.Parameter, hints: Mapping[str, Any], by_type: Mapping[type, str], name: str
) -> Extra:
    if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise ConfigError(f"{name} may not take {str(parameter)!r}: name what it wants")
    annotation = hints.get(parameter.name, str)
    role = parameter.name if parameter.name in BY_NAME else _role(annotation, by_type)
    if parameter.name in BY_NAME and parameter.name not in hints:
        annotation = Any
    return Extra(parameter.name, role, annotation, parameter.default)


def _role(annotation: Any, by_type: Mapping[type, str]) -> str:
    for option in _options(annotation):
        plain = get_origin(option) or option
        if isinstance(plain, type):
            for known, role in by_type.items():
                if issubclass(plain, known):
                    return role
    return PARAMS if all(_is_textual(option) for option in _options(annotation)) else "state"


def _is_textual(option: Any) -> bool:
    origin = get_origin(option)
    if origin is tuple:
        return all(part is ... or _is_textual(part) for part in get_args(option))
    if origin is Literal or option in {Any, tuple, type(None)}:
        return True
    plain = option if origin is None else origin
    return isinstance(plain, type) and issubclass(plain, _TEXTUAL)


def _allows_none(annotation: Any) -> bool:
    return any(option is type(None) for option in _options(annotation))


def _given_back(annotation: Any) -> Iterable[Any]:
    """Yield the types inside lists, iterators and unions of a return annotation."""
    for option in _options(annotation):
        origin = get_origin(option)
        shape = getattr(origin, "__name__", "")
        if origin in _LISTS or shape in _LISTS:
            for part in get_args(option):
                if part is not ...:
                    yield from _given_back(part)
        elif shape in _CARRIERS:
            yield from _given_back(get_args(option)[-1 if shape == "Coroutine" else 0])
        elif option not in {Any, None, type(None)}:
            yield option


def _named(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)
