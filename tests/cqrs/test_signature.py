"""Signatures: what annotations say, and that a handler which doesn't fit is refused at start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest

from trunkline.cqrs.pattern import name_pattern
from trunkline.cqrs.signature import ANY, Signature
from trunkline.errors import ConfigError, UsageError

T = TypeVar("T")


class Event:
    """Be the base of all events here."""


class Created(Event):
    """Be one."""


class Closed(Event):
    """Be another."""


@dataclass
class State:
    """Be an aggregate's state."""


class Link:
    """Be what is known by its type."""


class Box(Generic[T]):
    """Be known by its type, with a parameter."""


class Colour(Enum):
    """Be an enum in a name."""

    RED = "red"


def single(event: Created): ...
def union(event: Created | Closed): ...
def anything(event): ...
def untyped(event: Any): ...
def rooted(event: Event): ...
def batch(events: list[Created | Closed]): ...
def bare_batch(events: list): ...


@pytest.mark.parametrize(
    ("handler", "subject", "is_batch"),
    [
        (single, (Created,), False),
        (union, (Created, Closed), False),
        (anything, ANY, False),
        (untyped, ANY, False),
        (rooted, ANY, False),
        (batch, (Created, Closed), True),
        (bare_batch, ANY, True),
    ],
)
def test_the_first_parameter_says_what_is_handled(
    handler: Any, subject: Any, is_batch: bool
) -> None:
    """A type, a union, anything, or a list of them for batches."""
    signature = Signature.of(handler, any_of=[Event])

    assert (signature.subject, signature.is_batch) == (subject, is_batch)


def test_accepting_is_by_type() -> None:
    """A subject of another type is not accepted."""
    assert Signature.of(union).accepts(Closed())
    assert not Signature.of(single).accepts(Closed())
    assert Signature.of(anything).accepts(object())


def test_other_parameters_are_known_by_name_by_type_or_by_the_pattern() -> None:
    """Names first, then types the caller knows, then texts of the pattern, else the state."""

    def handler(
        event: Created,
        tx,
        ctx,
        link: Link,
        box: Box[int],
        test: State | None,
        test_id: UUID,
        crud,
        day: datetime | None = None,
        sort: Literal["a", "b"] = "a",
        ids: tuple[int, ...] = (),
    ): ...

    signature = Signature.of(handler, by_type={Link: "link", Box: "box"})

    assert {extra.name: extra.role for extra in signature.extras} == {
        "tx": "tx",
        "ctx": "ctx",
        "link": "link",
        "box": "box",
        "test": "state",
        "test_id": "params",
        "crud": "params",
        "day": "params",
        "sort": "params",
        "ids": "params",
    }
    assert signature.state_type is State
    assert signature.wants("link")
    assert not Signature.of(single).wants("tx")


def test_a_call_supplies_what_is_wanted_with_captured_texts_converted() -> None:
    """Texts of a name become what the annotation says."""

    def handler(event, tx, n: int, u: UUID, c: Colour, many: tuple[int, ...], opt: int = 5):
        return event, tx, n, u, c, many, opt

    uuid = UUID(int=3)
    params = {"n": "12", "u": str(uuid), "c": "red", "many": ("1", "2"), "else": "x"}

    answer = Signature.of(handler).call("e", {"tx": "T", "params": params, "ctx": None})

    assert answer == ("e", "T", 12, uuid, Colour.RED, (1, 2), 5)


def test_an_absent_optional_parameter_is_none() -> None:
    """A parameter that may be None is, when the name had nothing for it."""

    def handler(event, id: int | None):  # noqa: A002
        return id

    assert Signature.of(handler).call("e", {"params": {}}) is None


def test_a_captured_text_of_another_type_is_an_error_that_names_all() -> None:
    """Handler, parameter, type and text are in the message."""

    def handler(event, number: int): ...

    with pytest.raises(UsageError, match=r"handler wants 'number' as int.*'abc'"):
        Signature.of(handler).call("e", {"params": {"number": "abc"}})


def test_what_nobody_supplies_is_an_error() -> None:
    """A missing transaction is not silently None."""

    def handler(event, tx): ...

    with pytest.raises(UsageError, match="'tx'"):
        Signature.of(handler).call("e", {})


def yields(cmd) -> Iterator[Created | Closed]:
    yield Created()


async def yields_async(cmd) -> AsyncIterator[Created]:
    yield Created()


async def gives(cmd) -> list[Created] | Closed | None: ...
async def gives_tuple(cmd) -> tuple[Created, ...]:
    return ()


def silent(cmd): ...


@pytest.mark.parametrize(
    ("handler", "returns", "is_generator", "is_async"),
    [
        (yields, (Created, Closed), True, False),
        (yields_async, (Created,), True, True),
        (gives, (Created, Closed), False, True),
        (gives_tuple, (Created,), False, True),
        (silent, (), False, False),
    ],
)
def test_annotations_say_what_is_given_back(
    handler: Any, returns: Any, is_generator: bool, is_async: bool
) -> None:
    """Types inside lists, iterators and unions count; how to take them is known too."""
    signature = Signature.of(handler)

    assert signature.returns == returns
    assert (signature.is_generator, signature.is_async) == (is_generator, is_async)


def test_methods_and_callable_objects_are_handlers_too() -> None:
    """Self is not the subject."""

    class Handlers:
        def method(self, event: Created, n: int):
            return n

        async def __call__(self, event: Closed): ...

    method, called = Signature.of(Handlers().method), Signature.of(Handlers())

    assert method.subject == (Created,)
    assert method.call(Created(), {"params": {"n": "4"}}) == 4
    assert called.subject == (Closed,)
    assert called.is_async


def test_types_of_an_enclosing_function_are_found() -> None:
    """A handler defined inside a function may name that function's types."""

    class Inner: ...

    class Unused: ...

    def handler(event: Inner):
        return Inner

    def other(event: Unused): ...

    assert Signature.of(handler).subject == (Inner,)
    assert Signature.of(other).subject == (Unused,)


def nothing(): ...
def unknown(event: Missing): ...  # noqa: F821
def no_type(event: None): ...
def variadic(event, *more): ...
def open_ended(event, **more): ...


@pytest.mark.parametrize("handler", [nothing, unknown, no_type, variadic, open_ended])
def test_a_signature_that_does_not_fit_is_refused_by_name(handler: Any) -> None:
    """The message names the handler."""
    with pytest.raises(ConfigError, match=handler.__name__):
        Signature.of(handler)


def test_a_pattern_must_capture_what_is_wanted() -> None:
    """A parameter the pattern lacks, has only sometimes, or repeats, is refused at start."""

    def handler(event, id: int): ...  # noqa: A002
    def lenient(event, id: int | None): ...  # noqa: A002
    def several(event, id: tuple[int, ...]): ...  # noqa: A002

    signature = Signature.of(handler)
    signature.check_pattern(name_pattern("test.:id"))
    Signature.of(lenient).check_pattern(name_pattern("test.:id?"))
    Signature.of(several).check_pattern(name_pattern("test.:id.:id"))

    for bad in ["test.*", "test.:id?", "test.:id.:id"]:
        with pytest.raises(ConfigError, match="'id'"):
            signature.check_pattern(name_pattern(bad))
