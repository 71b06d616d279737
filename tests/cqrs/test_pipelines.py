"""Pipelines: a transaction for each step, progress that only grows, resumed after any death."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from tests.cqrs.pipeline_town import STEPS, Closed, Open, Opened, town
from tests.cqrs.saga_town import Record
from tests.store.databases import notes, until
from trunkline.cqrs import saga_wing
from trunkline.cqrs.saga_errors import PipelineError, SagaBusyError
from trunkline.cqrs.saga_runner import Vigil
from trunkline.cqrs.step import StepRetry
from trunkline.errors import ConfigError, UsageError


@pytest.fixture
def record(tmp_path):
    return Record(tmp_path / "record")


async def told(line, run):
    return [one.data for one in await line.backlog(f"/pipelines/opening/{run}")]


def progress(found):
    return [one["index"] for one in found if one["event"] in {"progress", "complete"}]


async def test_steps_map_merge_and_zip_and_the_last_result_is_a_view(ground, record):
    line = ground.line()
    pipeline = town(line, record)
    async with line:
        done = await line.run(pipeline, {"shop": "s"}, key="k")
        assert done.status == "done"
        assert done.body == {"shop": "s", "street": "Main", "written": True}
        assert done.result == ["s in Main"]
        found = await told(line, done.id)
        assert progress(found) == [0, 1, 2, 3, 4, 4]
        assert [one.get("step") for one in found if one["event"] == "progress"][1:] == [*STEPS]
        subs = [one for one in found if one["event"] == "subprogress"]
        assert ("open.shop::command", "main.open_shop") in {(o["label"], o["name"]) for o in subs}
        again = await line.run(pipeline, {"shop": "s"}, key="k")
        assert (again.id, again.is_repeat, again.result) == (done.id, True, done.result)
    assert len(record.all()) == 1


async def test_a_step_whose_condition_fails_is_skipped_and_told(ground):
    line = ground.line()
    pipeline = line.pipeline("opening")
    pipeline.step("a", lambda body: 1, if_=lambda body: False)
    pipeline.step("b", lambda body: body, before=lambda body: body + 1, after=lambda r, b: r * 10)
    pipeline.step("c", lambda body: body * 2, zip=lambda body, result: [body, result])
    async with line:
        done = await line.run(pipeline, 4)
        assert (done.skipped, done.body, done.result) == (("a",), [4, 8], 8)
        assert [one["event"] for one in await told(line, done.id)] == [
            *("progress", "skipped", "progress", "progress", "complete")
        ]


async def test_a_step_sends_several_commands_and_reports_from_inside(ground):
    line = ground.line()
    line.event(Opened)
    line.command(Open)(lambda command: [Opened(command.shop)])
    pipeline = line.pipeline("opening")
    pipeline.step("open", Open, before=lambda body: [Open(one) for one in body])

    @pipeline.step("count")
    async def count(body, step):
        for number in range(2):
            await step.progress(number + 1, 2, name=f"part {number}")

    async with line:
        done = await line.run(pipeline, ["x", "y"])
        assert (await line.pipelines.show(done.id)).steps[0].output == [
            {"shop": "x", "street": "Main"},
            {"shop": "y", "street": "Main"},
        ]
        parts = [one for one in await told(line, done.id) if one.get("step") == "count"]
        assert [(one["event"], one["index"]) for one in parts] == [
            ("subprogress", 1),
            ("subprogress", 2),
            ("progress", 2),
        ]


async def test_an_error_stops_it_until_it_is_retried_or_skipped(ground, record):
    line = ground.line()
    pipeline = town(line, record, wish="fail")
    async with line:
        with pytest.raises(PipelineError, match="ConnectionError: away") as caught:
            await line.run(pipeline, {"shop": "s"}, key="k")
        assert (caught.value.step, caught.value.outcome) == ("call", "stopped")
        with pytest.raises(PipelineError):
            await line.run(pipeline, {"shop": "s"}, key="k")
        line.start_services()
        await line.pipelines.retry(caught.value.saga_id)

        async def is_stopped():
            saga = await line.pipelines.show(caught.value.saga_id)
            return saga.status == "stopped" and len(record.all()) == 2

        await until(is_stopped)
        await line.pipelines.skip(caught.value.saga_id)

        async def is_done():
            return (await line.pipelines.show(caught.value.saga_id)).status == "done"

        await until(is_done)
        assert progress(await told(line, caught.value.saga_id)) == [0, 1, 2, 4, 4]
    assert await notes(ground) == ["s in Main"], "what was done stands, and was done once"


async def test_an_error_undoes_what_is_done_when_it_shall(ground, record):
    line = ground.line()
    pipeline = town(line, record, wish="fail", on_error="compensate")
    heard = []
    line.projector(Closed, name="hear")(lambda event: heard.append(event.shop))
    async with line:
        with pytest.raises(PipelineError) as caught:
            await line.run(pipeline, {"shop": "s"}, key="k")
        assert caught.value.outcome == "undone"
        assert [one["event"] for one in await told(line, caught.value.saga_id)][-2:] == [
            *("failure", "undone")
        ]
    assert record.effects() == [("did", "call"), ("undid", "call")]
    assert heard == ["s"]


async def test_an_error_is_passed_over_when_it_shall(ground, record):
    line = ground.line()
    pipeline = town(line, record, wish="fail", on_error="continue")
    async with line:
        done = await line.run(pipeline, {"shop": "s"})
    assert (done.skipped, done.result) == (("call",), ["s in Main"])


async def test_a_step_is_tried_again_as_its_policy_says(ground):
    line, calls = ground.line(), []
    pipeline = line.pipeline("opening")

    @pipeline.step("call", retry=StepRetry(3, first=0.001, limit=0.001))
    def call(body, step):
        calls.append(step.attempt)
        if len(calls) < 3:
            raise ConnectionError
        return "at last"

    async with line:
        assert (await line.run(pipeline)).result == "at last"
    assert calls == [1, 2, 3]


async def test_a_worker_runs_what_is_not_waited_for(ground, record):
    line = ground.line()
    pipeline = town(line, record)
    async with line:
        begun = await line.run(pipeline, {"shop": "s"}, key="k", wait=False)
        assert begun.status == "running"
        line.start_services()

        async def is_done():
            return (await line.pipelines.show(begun.id)).status == "done"

        await until(is_done)


async def test_nobody_waiting_any_more_does_not_end_it(ground):
    line = ground.line()
    pipeline = line.pipeline("opening")
    waiting, go = asyncio.Event(), asyncio.Event()

    @pipeline.step("wait")
    async def wait(body):
        waiting.set()
        await go.wait()

    async with line:
        running = asyncio.create_task(line.run(pipeline, key="k"))
        await asyncio.wait_for(waiting.wait(), 10)
        with pytest.raises(SagaBusyError):
            await line.run(pipeline, key="k")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        go.set()

        async def is_done():
            return (await line.pipelines.list())[0].status == "done"

        await until(is_done)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(saga_wing, "Vigil", lambda: Vigil(0.3))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "point", [*(f"write {number}" for number in range(1, 8)), "within write", "called"]
)
async def test_killed_between_any_two_moves_it_goes_on(ground, record, point):
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.cqrs.pipeline_town", ground.url, str(record.path), point),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == -9, stderr.decode()
    line = ground.line()
    town(line, record)
    async with line:
        line.start_services()

        async def is_done():
            return [one.status for one in await line.pipelines.list()] == ["done"]

        await until(is_done)
        [run] = await line.pipelines.list()
        assert run.body == {"shop": "s", "street": "Main", "written": True}
        found = progress(await told(line, run.id))
        assert found == sorted(found) == [0, 1, 2, 3, 4, 4]
        opened = (await line._log.last_ids(())).head
        assert opened
    assert record.effects() == [("did", "call")]
    assert await notes(ground) == ["s in Main"]


async def test_a_run_whose_step_is_gone_is_stuck(ground, record):
    line = ground.line()
    pipeline = line.pipeline("opening")
    pipeline.step("old", lambda body: 1)
    pipeline.step("fails", lambda body: 1 / 0)
    async with line:
        with pytest.raises(PipelineError):
            await line.run(pipeline, key="k")
        [run] = await line.pipelines.list()
    newer = ground.line()
    newer.pipeline("opening").step("new", lambda body: 1)
    async with newer:
        newer.start_services()
        await newer.pipelines.retry(run.id)

        async def is_stuck():
            return (await newer.pipelines.show(run.id)).status == "stuck"

        await until(is_stuck)
        assert "no code declares step 'old'" in (await newer.pipelines.show(run.id)).error


def test_declarations_that_make_no_sense_are_refused():
    from trunkline import Trunkline

    line = Trunkline("sqlite:///never.db")
    pipeline = line.pipeline("opening")
    for target, why in ((int, "no command"), (5, "neither"), (lambda: 1, "no argument")):
        with pytest.raises(ConfigError, match=why):
            pipeline.step("a", target)
    with pytest.raises(ConfigError, match="wants 'other'"):
        pipeline.step("a", lambda body, other: 1)
    pipeline.step("a", lambda body: 1)
    with pytest.raises(ConfigError, match="taken"):
        pipeline.step("a", lambda body: 1)
    with pytest.raises(ConfigError, match="on_error"):
        line.pipeline("other", on_error="explode")
    with pytest.raises(ConfigError, match="twice"):
        line.pipeline("opening")


async def test_operators_look_after_runs_on_the_command_line(sqlite_ground, record):
    ground = sqlite_ground
    line = ground.line()
    pipeline = town(line, record, wish="fail")
    async with line:
        with pytest.raises(PipelineError) as caught:
            await line.run(pipeline, {"shop": "s"}, key="k")
        with pytest.raises(UsageError, match="no status"):
            await line.pipelines.list("odd")
    run = caught.value.saga_id

    def trunkline(*words):
        command = [sys.executable, "-m", "trunkline.cli", *words, "--log", ground.url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    [listed] = [json.loads(one) for one in trunkline("pipelines", "list", "--json").splitlines()]
    assert (listed["id"], listed["status"], listed["body"]["shop"]) == (run, "stopped", "s")
    assert "call:failed" in trunkline("pipelines", "list")
    assert "ConnectionError: away" in trunkline("pipelines", "show", run)
    assert json.loads(trunkline("pipelines", "retry", run, "--json"))["status"] == "running"
    assert "abandoned" in trunkline("pipelines", "abandon", run, "--reason", "enough")
    assert trunkline("sagas", "list", "--json") == ""
