"""Sagas that cannot be undone at once: tried again, stuck, helped on by operators."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from tests.cqrs.saga_town import NAMES, Move, Record, town
from tests.cqrs.test_command_steps import Order, deciding, status
from tests.store.databases import until
from trunkline.cqrs import saga_wing
from trunkline.cqrs.errors import RefusedError
from trunkline.cqrs.saga_errors import SagaBusyError
from trunkline.cqrs.saga_runner import Vigil
from trunkline.cqrs.step import StepRetry
from trunkline.errors import ConflictError, UsageError

DID = [("did", name) for name in NAMES]
UNDID = [("undid", name) for name in reversed(NAMES)]


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "record")


@pytest.fixture
def line(ground):
    return ground.line()


@pytest.fixture
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, "trunkline")


async def test_an_undo_that_fails_for_a_moment_is_tried_again(ground, record):
    line = town(ground.line(), record, fails={"unb": 1})
    async with line:
        with pytest.raises(RefusedError):
            await line.send(Move("h", "decide"), key="k")
        assert (await status(line)).status == "undone"
    assert record.effects() == DID + UNDID


def stubborn(line, told):
    """Declare a step whose undo fails until something is told."""

    @line.undo("cancel", retry=StepRetry(2, first=0.001, limit=0.001))
    async def cancel(command):
        if "now" not in told:
            raise ConnectionError("away")
        told.append(command.order)

    @line.step(Order, undo="cancel")
    async def book(command):
        """Book."""

    @line.after("place.order")
    async def refuse(command):
        raise RefusedError("no")

    deciding(line)
    return line


async def final(line, key="k"):
    async def is_final():
        return (await status(line, key)).status in {"done", "undone", "abandoned"}

    await until(is_final)
    return await status(line, key)


async def test_what_cannot_be_undone_is_stuck_until_an_operator_decides(line, quiet):
    told = []
    async with stubborn(line, told):
        with pytest.raises(RefusedError):
            await line.send(Order("o"), key="k")
        saga = await status(line)
        assert saga.status == "stuck"
        assert "book cannot be undone: ConnectionError: away" in saga.error
        assert saga.steps[0].undo_attempts == 2
        with pytest.raises(SagaBusyError, match="stuck"):
            await line.send(Order("o"), key="k")
        line.start_services()
        told.append("now")
        await line.sagas.retry(saga.id)
        assert (await final(line)).status == "undone"
        assert told == ["now", "o"]


async def test_an_operator_may_skip_an_undo_or_abandon_the_saga(line, quiet):
    async with stubborn(line, []):
        for key in ("k", "l"):
            with pytest.raises(RefusedError):
                await line.send(Order("o"), key=key)
        line.start_services()
        await line.sagas.skip((await status(line)).id)
        assert (await final(line)).status == "undone"
        other = await line.sagas.abandon((await status(line, "l")).id, "done by hand")
        assert (other.status, other.error) == ("abandoned", "done by hand")
        with pytest.raises(ConflictError):
            await line.sagas.retry(other.id)
        with pytest.raises(UsageError, match="no saga"):
            await line.sagas.show("nothing")


async def test_a_saga_whose_undo_is_gone_is_stuck_and_told(ground, caplog, monkeypatch):
    monkeypatch.setattr(saga_wing, "Vigil", lambda: Vigil(0.1))
    waiting = asyncio.Event()
    first = ground.line()

    @first.undo("old")
    async def old(command):
        """Undo."""

    @first.step(Order, undo="old")
    async def hang(command):
        waiting.set()
        await asyncio.sleep(60)

    deciding(first)
    async with first:
        sending = asyncio.create_task(first.send(Order("o"), key="k"))
        await asyncio.wait_for(waiting.wait(), 10)
        later = ground.line()

        @later.undo("new")
        async def new(command):
            """Undo."""

        @later.step(Order, undo="new")
        async def hang(command):
            """Call."""

        deciding(later)
        await first.close()
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
    with caplog.at_level(logging.ERROR, "trunkline.cqrs"):
        async with later:
            assert "no undo 'old' is declared for step 'hang'" in caplog.text
            later.start_services()

            async def is_stuck():
                return (await status(later)).status == "stuck"

            await until(is_stuck)
            assert "no undo 'old'" in (await status(later)).error
