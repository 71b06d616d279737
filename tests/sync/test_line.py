"""The synchronous face: every verb waits, blocks are blocks, and forks lose nothing."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline.errors import ConflictError, LineClosedError, UsageError
from trunkline.model.message import Message
from trunkline.sync import Trunkline


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Trunkline]:
    with Trunkline(f"sqlite:///{tmp_path}/line.db") as line:
        yield line


def test_publishes_and_reads(line: Trunkline) -> None:
    receipt = line.publish("/orders", {"id": 7})
    assert receipt is not None
    assert receipt.message_id == 1
    assert [one.message_id for one in line.publish_many([("/orders", 8), ("/orders", 9)])] == [2, 3]
    assert line.last_id("/orders") == 3
    assert line.last_ids(["/orders", "/none"]) == {"/orders": 3, "/none": 0}
    assert [message.data for message in line.backlog("/orders")] == [{"id": 7}, 8, 9]
    found = line.last_message("/orders")
    assert found is not None
    assert found.data == 9


def test_an_error_of_a_call_is_raised_where_it_was_made(line: Trunkline) -> None:
    with pytest.raises(UsageError):
        line.publish("no slash", 1)


def test_iterates_from_a_message_and_waits_for_the_next(line: Trunkline) -> None:
    line.publish("/a", 1)
    with line.subscribe("/a", after=0) as messages:
        assert next(messages).data == 1
        later = threading.Timer(0.05, lambda: line.publish("/a", 2))
        later.start()
        assert next(messages).data == 2
        later.join()


def test_closing_ends_an_iteration_that_waits_in_another_thread(line: Trunkline) -> None:
    messages = line.subscribe("/a")
    messages.open()
    seen: list[Message] = []
    reader = threading.Thread(target=lambda: seen.extend(messages))
    reader.start()
    line.publish("/a", 1)
    while not seen:
        time.sleep(0.005)
    messages.close()
    reader.join(10)
    assert not reader.is_alive()
    assert [message.data for message in seen] == [1]


def test_a_handler_runs_in_a_thread_where_it_may_use_the_line(line: Trunkline) -> None:
    answered = threading.Event()

    def handle(message: Message) -> None:
        line.publish("/answers", message.data + 1)
        answered.set()

    listener = line.subscribe("/questions", handle)
    line.publish("/questions", 41)
    assert answered.wait(10)
    assert [message.data for message in line.backlog("/answers")] == [42]
    listener.close()


def test_a_transaction_commits_as_one_and_shows_its_own(line: Trunkline) -> None:
    with line.transaction() as tx:
        tx.execute("CREATE TABLE things (name TEXT)")
        tx.execute("INSERT INTO things VALUES (?)", "a")
        tx.publish("/things", "a")
        with contextlib.suppress(ZeroDivisionError), tx.savepoint():
            tx.execute("INSERT INTO things VALUES (?)", "b")
            line.publish("/things", "b", tx=tx)
            raise ZeroDivisionError
        assert [one.data for one in tx.events] == ["a"]
    with line.transaction() as tx:
        assert [row[0] for row in tx.fetch("SELECT name FROM things")] == ["a"]
    assert [message.data for message in line.backlog("/things")] == ["a"]


def test_a_transaction_that_raises_leaves_nothing(line: Trunkline) -> None:
    def fail() -> None:
        with line.transaction() as tx:
            tx.publish("/things", "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert line.last_id("/things") == 0
    line.publish("/things", 1, key="k")
    with pytest.raises(ConflictError):
        line.publish("/things", 2, key="k")


def test_publishes_in_a_guest_transaction(line: Trunkline, tmp_path: Path) -> None:
    line.attach_outbox(f"sqlite:///{tmp_path}/shop.db")
    line.publish("/open", 1)
    shop = sqlite3.connect(tmp_path / "shop.db")
    shop.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
    shop.execute("INSERT INTO orders VALUES (1)")
    line.publish("/orders", 1, tx=shop)
    assert line.last_id("/orders") == 0
    shop.commit()
    with line.subscribe("/orders", after=0) as messages:
        assert next(messages).data == 1
    shop.close()


def test_a_plain_consumer_handler_gets_a_transaction_that_waits(tmp_path: Path) -> None:
    line = Trunkline(f"sqlite:///{tmp_path}/line.db", services="on")
    done = threading.Event()

    @line.consumer("copies", "/from")
    def copy(message: Message, tx) -> None:
        tx.publish("/to", message.data)
        done.set()

    with line:
        line.publish("/from", "x")
        assert done.wait(10)
        with line.subscribe("/to", after=0) as messages:
            assert next(messages).data == "x"


def test_operators_calls_are_mirrored(line: Trunkline) -> None:
    assert line.consumers.list() == []
    with pytest.raises(UsageError, match="no consumer"):
        line.consumers.pause("nobody")


def test_a_cache_is_a_mapping_whose_writes_wait(line: Trunkline, tmp_path: Path) -> None:
    cache = line.cache("frogs").open()
    cache["frogs"] = 5
    cache.set("toads", 6, ttl=100)
    with Trunkline(f"sqlite:///{tmp_path}/line.db") as other:
        assert dict(other.cache("frogs").open()) == {"frogs": 5, "toads": 6}
    del cache["frogs"]
    assert len(cache) == 1
    cache.clear()
    assert not cache
    with pytest.raises(KeyError):
        del cache["frogs"]


def test_waiting_on_the_loop_itself_is_refused(line: Trunkline) -> None:
    async def inside() -> None:
        line.publish("/a", 1)

    with pytest.raises(UsageError, match="own thread"):
        line.call(inside)


def test_an_interrupt_is_raised_at_once_and_cancels_the_work(line: Trunkline) -> None:
    ended = threading.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        line.call(wait_for_ever)
    assert ended.wait(10)
    timer.join()
    assert line.publish("/a", 1) is not None


def test_an_interrupted_transaction_is_undone(line: Trunkline) -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    block = line.transaction()
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))

    def be_interrupted() -> None:
        with block as tx:
            tx.publish("/a", 1)
            timer.start()
            block._visit.call(wait_for_ever)

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    timer.join()
    assert line.last_id("/a") == 0
    assert line.publish("/a", 2) is not None


def test_a_closed_line_says_so_and_opens_again(tmp_path: Path) -> None:
    line = Trunkline(f"sqlite:///{tmp_path}/line.db")
    line.publish("/a", 1)
    line.close()
    with pytest.raises(LineClosedError, match="open it again"):
        line.publish("/a", 2)
    with line.open():
        assert line.last_id("/a") == 1


def _in_child(work) -> int:
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def _status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_both_sides_of_a_fork_go_on(line: Trunkline) -> None:
    line.publish("/a", "before")
    children = [_in_child(lambda: [line.publish("/a", n) for n in range(50)]) for _ in range(3)]
    for n in range(50):
        line.publish("/a", n)
    assert [_status(child) for child in children] == [0, 0, 0]
    messages = line.backlog("/a")
    assert [one.message_id for one in messages] == list(range(1, 202))
    assert sorted(one.data for one in messages[1:]) == sorted([*range(50)] * 4)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_listeners_and_iterations_go_on_after_a_fork_without_loss(line: Trunkline) -> None:
    heard: list[int] = []
    line.subscribe("/a", lambda message: heard.append(message.data))
    iterated: list[int] = []
    messages = line.subscribe("/a")
    messages.open()
    reader = threading.Thread(target=lambda: iterated.extend(one.data for one in messages))
    reader.start()
    for n in range(3):
        line.publish("/a", 2 * n)
        assert _status(_in_child(lambda n=n: line.publish("/a", 2 * n + 1))) == 0
    deadline = time.monotonic() + 20
    while (len(heard) < 6 or len(iterated) < 6) and time.monotonic() < deadline:
        time.sleep(0.01)
    messages.close()
    reader.join(10)
    assert iterated == heard == list(range(6))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_listener_hears_in_the_child_too(line: Trunkline) -> None:
    heard = threading.Event()
    line.subscribe("/a", lambda message: heard.set())

    def wait() -> None:
        line.publish("/ready", 1)
        assert heard.wait(20)

    with line.subscribe("/ready") as ready:
        child = _in_child(wait)
        next(ready)
        line.publish("/a", 1)
        assert _status(child) == 0
