"""A line opens when it is used, belongs to one place, switches off and closes cleanly."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from pathlib import Path

import anyio
import pytest

from trunkline import Limits, Trunkline
from trunkline.errors import ConfigError, LineClosedError, LogError
from trunkline.model.message import Message


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'line.db'}"


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def until(condition) -> None:
    with anyio.fail_after(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_first_use_opens_the_line_and_close_ends_it(url: str) -> None:
    line = Trunkline(url)
    assert not line.is_open
    await line.publish("/a", 1)
    assert line.is_open
    await line.close()
    assert not line.is_open
    for use in (line.publish("/a", 2), line.last_id("/a"), anext(line.subscribe("/a"))):
        with pytest.raises(LineClosedError):
            await use


async def test_many_first_uses_open_it_once(url: str) -> None:
    line = Trunkline(url)
    receipts = await asyncio.gather(*(line.publish("/a", n) for n in range(20)))
    assert sorted(one.message_id for one in receipts if one) == list(range(1, 21))
    await line.close()


async def test_opening_and_closing_are_idempotent(url: str) -> None:
    line = Trunkline(url)
    assert await line.open() is await line.open()
    await asyncio.gather(line.close(), line.close())
    await line.close()
    async with line:
        await line.publish("/a", 1)
    async with line:
        assert await line.last_id("/a") == 1


async def test_a_line_may_be_closed_without_ever_opening(url: str, tmp_path: Path) -> None:
    line = Trunkline(url)
    await line.close()
    assert is_empty(tmp_path)


def test_a_line_opens_again_on_another_event_loop(url: str) -> None:
    line = Trunkline(url)

    async def use(expected: int) -> None:
        async with line:
            subscription = line.subscribe("/a")
            await subscription.open()
            await line.publish("/a", expected)
            with anyio.fail_after(10):
                assert (await anext(subscription)).message_id == expected

    for number in (1, 2, 3):
        asyncio.run(use(number))


def test_a_line_left_open_on_another_event_loop_says_so(url: str) -> None:
    line = Trunkline(url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(line.open())
    try:
        with pytest.raises(LineClosedError, match="another event loop"):
            asyncio.run(_publish(line))
    finally:
        loop.run_until_complete(line.close())
        loop.close()


async def _publish(line: Trunkline) -> None:
    await line.publish("/a", 1)


async def test_a_line_opened_before_a_fork_says_so(url: str) -> None:
    async with Trunkline(url) as line:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                asyncio.set_event_loop(None)
                asyncio._set_running_loop(None)
                try:
                    asyncio.run(_publish(line))
                    told = "nothing"
                except LineClosedError as error:
                    told = str(error)
                except BaseException:  # noqa: BLE001 - the child tells all
                    told = traceback.format_exc()
                os.write(writing, told.encode())
            finally:
                os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert "before a fork" in pipe.read()
        receipt = await line.publish("/a", 1)
        assert receipt is not None
        assert receipt.message_id == 1


async def test_a_log_that_cannot_be_opened_may_be_opened_later(tmp_path: Path) -> None:
    line = Trunkline(f"sqlite:///{tmp_path / 'later' / 'line.db'}")
    with pytest.raises(LogError):
        await line.publish("/a", 1)
    assert not line.is_open
    (tmp_path / "later").mkdir()
    assert await line.publish("/a", 1)
    await line.close()


def test_what_is_wrong_with_the_url_or_a_setting_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="no engine"):
        Trunkline("nosuch://")
    with pytest.raises(ConfigError, match="max_backlog_size"):
        Trunkline("memory://", max_backlog_sise=3)


async def test_a_handler_finishes_the_message_in_hand_when_the_line_closes(url: str) -> None:
    line, begun, go = Trunkline(url), asyncio.Event(), asyncio.Event()
    finished: list[int] = []

    async def handle(message: Message) -> None:
        begun.set()
        await go.wait()
        finished.append(message.data)

    await line.subscribe("/a", handle)
    await line.publish("/a", 1)
    await asyncio.wait_for(begun.wait(), 10)
    closing = asyncio.ensure_future(line.close())
    await asyncio.sleep(0)
    go.set()
    await asyncio.wait_for(closing, 10)
    assert finished == [1]


async def test_closing_does_not_wait_for_a_handler_for_ever(url: str) -> None:
    line, begun = Trunkline(url, close_grace=0.05), asyncio.Event()

    async def handle(_: Message) -> None:
        begun.set()
        await asyncio.Event().wait()

    await line.subscribe("/a", handle)
    await line.publish("/a", 1)
    await asyncio.wait_for(begun.wait(), 10)
    await asyncio.wait_for(line.close(), 10)
    assert not [task for task in asyncio.all_tasks() if "trunkline" in task.get_name()]


async def test_a_handler_may_close_its_own_line(url: str) -> None:
    line, closed = Trunkline(url), asyncio.Event()

    async def handle(_: Message) -> None:
        await line.close()
        closed.set()

    await line.subscribe("/a", handle)
    await line.publish("/a", 1)
    await asyncio.wait_for(closed.wait(), 3)
    assert not line.is_open


async def test_an_iteration_ends_when_the_line_closes(url: str) -> None:
    line = Trunkline(url)
    subscription = await line.subscribe("/a").open()
    reading = asyncio.ensure_future(_all(subscription))
    await line.publish("/a", 1)
    await until(lambda: subscription.position is not None and subscription.position.global_id == 1)
    await line.close()
    assert [one.data for one in await asyncio.wait_for(reading, 10)] == [1]


async def _all(subscription) -> list[Message]:
    return [message async for message in subscription]


async def test_limits_change_on_the_live_line(url: str) -> None:
    async with Trunkline(url, max_backlog_size=10) as line:
        line.retention.max_backlog_size = 2
        await line.publish_many([("/a", n) for n in range(5)])
        assert [one.data for one in await line.backlog("/a")] == [3, 4]
        line.retention.set("/big/**", Limits(max_backlog_size=4))
        await line.publish_many([("/big/a", n) for n in range(6)])
        assert len(await line.backlog("/big/a")) == 4
        line.retention.clear_every = 100
        await line.publish_many([("/a", n) for n in range(5)])
        assert len(await line.backlog("/a")) == 7
        for name, wrong in (("max_backlog_size", 0), ("max_backlog_age", 0), ("clear_every", 0)):
            with pytest.raises(ConfigError):
                setattr(line.retention, name, wrong)


async def test_old_messages_go_without_another_publish(url: str) -> None:
    async with Trunkline(url, max_backlog_age=0.05, sweep_interval=0.05) as line:
        await line.publish("/a", 1)
        with anyio.fail_after(10):
            while await line.backlog("/a"):
                await asyncio.sleep(0.02)
        assert await line.last_id("/a") == 1


async def test_a_site_from_the_settings_is_the_default(url: str) -> None:
    async with Trunkline(url, site_id="north") as line:
        await line.publish("/a", 1)
        assert await line.last_id("/a", site_id="north") == 1
        assert await line.last_id("/a", site_id="south") == 0
        message = await line.last_message("/a")
        assert message is not None
        assert message.site_id == "north"


async def test_background_work_ends_with_the_line(url: str) -> None:
    line, ended = Trunkline(url), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(LineClosedError):
        line.start("work", work)
    async with line:
        line.start("work", work)
        await asyncio.sleep(0)
        line.settings.gateway.retry_after = 1.0
    assert ended.is_set()


# -- off ------------------------------------------------------------------------------------------


async def test_off_opens_no_engine_and_answers_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_OFF", "1")
    heard: list[Message] = []
    async with Trunkline(f"sqlite:///{tmp_path / 'line.db'}") as line:
        assert line.is_off
        assert await line.publish("/a", 1) is None
        assert await line.publish_many([("/a", 1)]) == ()
        assert await line.last_id("/a") == 0
        assert await line.last_message("/a") is None
        assert await line.backlog("/a") == []
        assert await line.global_backlog() == []
        assert (await line.position()).global_id == 0
        assert [one async for one in line.subscribe("/a", after=0)] == []
        (await line.subscribe("/a", heard.append)).close()
        with pytest.raises(LineClosedError, match="off"):
            await line.reset()
        assert not line.is_open
    assert is_empty(tmp_path)
    assert not heard


def test_off_needs_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_OFF", "1")
    assert Trunkline("nosuch://host").is_off


async def test_off_that_still_publishes_stores(url: str) -> None:
    line = Trunkline(url)
    line.off(disable_publish=False)
    await line.publish("/a", 1)
    assert await line.last_id("/a") == 1
    await line.close()


async def test_on_makes_the_line_usable(url: str) -> None:
    line = Trunkline(url, off=True)
    line.on()
    assert not line.is_off
    assert await line.publish("/a", 1)
    await line.close()


async def test_off_on_an_open_line_silences_but_still_reads(url: str) -> None:
    async with Trunkline(url) as line:
        await line.publish("/a", 1)
        line.off()
        await line.publish("/a", 2)
        assert [one.data for one in await line.backlog("/a")] == [1]
        line.on()
        await line.publish("/a", 3)
        assert [one.data for one in await line.backlog("/a")] == [1, 3]


def test_the_front_door_has_what_it_names_and_costs_little() -> None:
    script = (
        "import sys, trunkline\n"
        "assert 'trunkline.app' not in sys.modules, 'imported before it was asked for'\n"
        "print([name for name in trunkline.__all__ if getattr(trunkline, name, None) is None])\n"
        "try: trunkline.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\nmodule 'trunkline' has no attribute 'nothing'\n"
