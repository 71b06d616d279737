"""What a signal is: checked when it is declared and when it is fired."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from tests.webhooks.school import Lesson, LessonSignal, installed, resolved, school
from trunkline.errors import ConfigError, UnencodableDataError
from trunkline.webhooks.errors import PayloadError, SignalError
from trunkline.webhooks.signal import Signal


def declared(ground, **members):
    """Declare a class with these members on top of a sound one's."""
    base = {"signal_name": "x", "object_class": Lesson, "payload": lambda self: {}}
    cls = type("Odd", (Signal,), {**base, **members})
    return ground.line().webhooks.declare(cls)


def test_a_sound_class_is_declared_and_account_type_has_a_default(sqlite_ground):
    assert declared(sqlite_ground).account_type == "account"


@pytest.mark.parametrize(
    "members",
    [
        {"signal_name": None},
        {"signal_name": ""},
        {"signal_name": "*"},
        {"signal_name": "a b"},
        {"object_class": None},
        {"object_class": dict},
        {"account_type": ""},
        {"account_type": None},
        {"actions": "updated"},
        {"actions": ("Updated",)},
        {"payload": Signal.payload},
        {"payload": Signal.payload, "actions": ("made", "gone"), "gone_payload": lambda self: {}},
    ],
)
def test_a_class_that_lacks_something_fails_at_start(sqlite_ground, members):
    with pytest.raises(ConfigError):
        declared(sqlite_ground, **members)


def test_a_missing_name_fails_at_start(sqlite_ground):
    with pytest.raises(ConfigError, match="signal_name"):

        @sqlite_ground.line().webhooks.declare
        class Nameless(Signal):
            object_class = Lesson

            def payload(self):
                return {}


def test_two_classes_with_one_name_fail_at_start(sqlite_ground):
    line = sqlite_ground.line()
    line.webhooks.declare(LessonSignal)
    line.webhooks.declare(LessonSignal)  # the same one again does no harm

    class Other(LessonSignal):
        pass

    with pytest.raises(ConfigError, match="signal_name='lesson'"):
        line.webhooks.declare(Other)


async def test_a_line_without_sql_says_so_at_its_opening():
    from trunkline import Trunkline

    line = Trunkline("memory://")
    line.webhooks.declare(LessonSignal)
    with pytest.raises(ConfigError, match="SQL"):
        await line.open()


async def test_an_undeclared_signal_is_refused(sqlite_ground):
    line = sqlite_ground.line()
    with pytest.raises(SignalError, match="declare"):
        await line.signal(LessonSignal(4, account_id=1), "updated")
    with pytest.raises(SignalError):
        await line.signal("lesson", "updated")
    await line.close()


class Strict(LessonSignal):
    signal_name = "strict"
    actions = ("updated", "destroyed")


@pytest.mark.parametrize("action", ["", "Updated", "_x", "a b", "removed", None, 4])
async def test_an_action_that_is_none_is_refused(sqlite_ground, action):
    async with school(sqlite_ground, Strict) as (line, _):
        with pytest.raises(SignalError):
            await line.signal(Strict(4, account_id=1), action)


@pytest.mark.parametrize("context", [{1: 2}, {"a": {None: 1}}, [], "x", 4])
async def test_a_context_that_would_change_its_shape_is_refused(sqlite_ground, context):
    with pytest.raises(SignalError):
        LessonSignal(4, account_id=1, context=context or [1])
    async with school(sqlite_ground) as (line, _):
        with pytest.raises(SignalError):
            await line.signal(LessonSignal(4, account_id=1), "updated", context=context or [1])


async def test_a_context_that_is_no_json_is_refused(sqlite_ground):
    deep: dict = {}
    for _ in range(100):
        deep = {"a": deep}
    async with school(sqlite_ground) as (line, _):
        for bad in ({"n": math.nan}, {"o": object()}, {"s": "\ud800"}):
            with pytest.raises(UnencodableDataError):
                await line.signal(LessonSignal(4, account_id=1), "updated", context=bad)
        with pytest.raises(SignalError):
            await line.signal(LessonSignal(4, account_id=1), "updated", context=deep)


async def test_context_of_the_action_is_captured_when_it_is_fired(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        lesson = Lesson.save(4, "before")
        signal = LessonSignal(lesson, account_id=1, context={"by": "ann", "name": "given"})
        await line.signal(signal, "archived", context={"by": "bob"})
        del Lesson.table[4]
        await resolved(line)
        [one] = await line.transmissions.list()
        assert one.context == {"by": "bob", "name": "before"}
        [(_, body)] = await mailbox.take()
        assert body["data"] == {"was": "before"}


async def test_the_object_is_read_only_when_it_is_looked_at(ground):
    async with school(ground) as (line, mailbox):
        await installed(line, 1)
        await line.signal(LessonSignal(4, account_id=1), "destroyed")  # there is no such object
        await resolved(line)
        assert len(await mailbox.take()) == 1
        assert Lesson.reads == 0
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
        [error] = await mailbox.prepare(await mailbox.claim())
        assert isinstance(error, PayloadError)
        assert "KeyError" in str(error)


class Plain(Signal):
    """A signal of synchronous code."""

    signal_name = "plain"
    object_class = Lesson
    account_type = "school"

    def payload(self):
        return {
            "name": self.object.name,
            "again": self.object.name,
            "id": self.object_id,
            "account": [self.account_type, self.account_id],
            "context": self.context,
        }

    def nothing_payload(self):
        return None

    def list_payload(self):
        return [1]

    def odd_payload(self):
        return {"o": object()}

    def wrong_payload(self):
        raise ValueError("no\0pe")


async def test_a_synchronous_payload_may_look_at_everything(ground):
    async with school(ground, Plain) as (line, mailbox):
        app = await line.apps.create("App", signals=["plain"], signal_url="https://a.example/")
        await line.connections.connect(app.id, account_id="s1", account_type="school")
        Lesson.save(4, "algebra")
        at = {"t": dt.datetime(2020, 1, 2, tzinfo=dt.UTC)}
        await line.signal(Plain(4, account_id="s1"), "made", context=at)
        await resolved(line)
        [(_, body)] = await mailbox.take()
        assert body["data"] == {
            "name": "algebra",
            "again": "algebra",
            "id": 4,
            "account": ["school", "s1"],
            "context": {"t": "2020-01-02T00:00:00Z"},
        }
        assert Lesson.reads == 1


async def test_what_a_payload_does_wrong_is_a_payload_error(sqlite_ground):
    async with school(sqlite_ground, Plain) as (line, mailbox):
        app = await line.apps.create("App", signals=["plain"], signal_url="https://a.example/")
        await line.connections.connect(app.id, account_id=1, account_type="school")
        for action in ("nothing", "list", "odd", "wrong"):
            await line.signal(Plain(4, account_id=1), action)
        await resolved(line)
        errors = await mailbox.prepare(await mailbox.claim())
        assert [type(one) for one in errors] == [PayloadError] * 4
        assert "\0" not in str(errors[-1])


class Slow(LessonSignal):
    signal_name = "slow"

    async def payload(self):
        import asyncio

        await asyncio.Event().wait()


async def test_a_payload_that_hangs_is_a_payload_error(sqlite_ground):
    async with school(sqlite_ground, Slow, payload_timeout=0.01) as (line, mailbox):
        await installed(line, 1, signals=["slow"])
        await line.signal(Slow(4, account_id=1), "updated")
        await resolved(line)
        [error] = await mailbox.prepare(await mailbox.claim())
        assert isinstance(error, PayloadError)


async def test_a_worker_that_does_not_know_a_signal_says_so(sqlite_ground):
    async with school(sqlite_ground) as (line, _):
        await installed(line, 1)
        await line.signal(LessonSignal(4, account_id=1), "updated")
        await resolved(line)
    async with school(sqlite_ground, Plain) as (line, mailbox):
        [error] = await mailbox.prepare(await mailbox.claim())
        assert isinstance(error, PayloadError)
        assert "'lesson'" in str(error)


async def test_an_asynchronous_find_is_awaited():
    class Lazy(Signal):
        signal_name = "lazy"

        async def find(self, object_id):
            return f"object {object_id}"

        def payload(self):
            return {}

    signal = Lazy(4, account_id=1)
    with pytest.raises(SignalError, match=r"await self\.load"):
        _ = signal.object
    assert await signal.load() == "object 4"
    assert signal.object == "object 4"


async def test_an_order_key_travels_with_the_notice(sqlite_ground):
    class Ordered(LessonSignal):
        signal_name = "ordered"

        def order_key(self):
            return f"lesson {self.object_id}"

    async with school(sqlite_ground, Ordered) as (line, _):
        await installed(line, 1, signals=["ordered"])
        for number in range(3):
            context = {"n": number}
            await line.signal(Ordered(4, account_id=1), "updated", context=context)
        await resolved(line)
        found = [(one.order_key, one.context["n"]) for one in await line.transmissions.list()]
        assert found == [("lesson 4", 2), ("lesson 4", 1), ("lesson 4", 0)]
