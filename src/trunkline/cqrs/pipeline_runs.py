"""Beginning runs of pipelines, finding earlier ones of a key, and waiting for what they come to."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, NamedTuple

import msgspec

from trunkline.cqrs.context import new_id
from trunkline.cqrs.pipeline import Pipeline, PipelineResult
from trunkline.cqrs.pipeline_runner import PipelineRunner
from trunkline.cqrs.saga_errors import PipelineError, SagaBusyError
from trunkline.cqrs.saga_runner import Workshop
from trunkline.store.saga_record import SagaKind, SagaRecord, SagaStatus, StepStatus


class RunOrigin(NamedTuple):
    """Be where a run comes from.

    Args:
        key: The caller's key, or None.
        actor: On whose behalf.
        site_id: The tenant.
    """

    key: str | None = None
    actor: str | int | None = None
    site_id: str | None = None


class PipelineRuns:
    """Begin runs and wait for them.

    Args:
        shop: What it is done with.
        runner: Runs them.
    """

    def __init__(self, shop: Workshop, runner: PipelineRunner) -> None:
        self._shop = shop
        self._runner = runner

    async def run(
        self, pipeline: Pipeline, given: Any, origin: RunOrigin, *, wait: bool
    ) -> PipelineResult:
        """Begin a run, or find the one of its key, and wait for its end.

        Args:
            pipeline: Which.
            given: The body it begins with.
            origin: Where it comes from.
            wait: Whether to run it here and wait; otherwise a worker runs it.

        Returns:
            What it came to.

        Raises:
            PipelineError: It stopped, or was undone.
            SagaBusyError: Another process runs it.
        """
        await self._shop.runner.enlist()
        saga = self._record(pipeline, given, origin, owner=self._shop.runner.id if wait else "")
        if await self._runner.begin(saga):
            if not wait:
                return result_of(saga)
            return await self._finish(saga)
        known = await self._shop.table.find_key(SagaKind.PIPELINE, pipeline.name, saga.key)
        if known is None:
            raise SagaBusyError(f"the run {saga.key!r} has just ended: ask again", saga_id="")
        return await self._join(known, wait=wait)

    async def known(self, pipeline: Pipeline, key: str) -> PipelineResult | None:
        """Return what the run of a key came to; None when there is none, or it may be run anew."""
        found = await self._shop.table.find_key(SagaKind.PIPELINE, pipeline.name, key)
        if found is None or found.status is not SagaStatus.DONE:
            return None
        return result_of(found, is_repeat=True)

    async def _join(self, saga: SagaRecord, *, wait: bool) -> PipelineResult:
        if saga.status in {SagaStatus.STOPPED, SagaStatus.STUCK}:
            raise error_of(saga, None)
        if not wait:
            return result_of(saga, is_repeat=True)
        taken = None
        if await self._shop.is_left(saga.owner):
            taken = await self._shop.table.take(saga, self._shop.runner.id)
        if taken is None:
            raise SagaBusyError(
                f"the pipeline {saga.name!r} is run for the key {saga.key!r} by another process: "
                f"follow /pipelines/{saga.name}/{saga.id}, or try again later",
                saga_id=saga.id,
            )
        return await self._finish(taken)

    async def _finish(self, saga: SagaRecord) -> PipelineResult:
        """Run it in the background, so that it goes on when nobody waits any more."""
        done: asyncio.Future[PipelineResult] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_look_at)
        self._shop.runner.hold(saga.id)
        self._shop.run(f"pipeline {saga.id}", partial(self._work, saga, done))
        return await asyncio.shield(done)

    async def _work(self, saga: SagaRecord, done: asyncio.Future[PipelineResult]) -> None:
        try:
            ended, failure = await self._runner.finish(saga)
        except asyncio.CancelledError:
            done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised where somebody waits
            self._shop.runner.release(saga.id)
            await self._shop.table.let_go(saga, due_at=self._shop.clock.now())
            done.set_exception(error)
        else:
            if ended.status is SagaStatus.DONE:
                done.set_result(result_of(ended))
            else:
                done.set_exception(error_of(ended, failure))

    def _record(
        self, pipeline: Pipeline, given: Any, origin: RunOrigin, *, owner: str
    ) -> SagaRecord:
        now = self._shop.clock.now()
        ident = new_id(now)
        context = {"correlation": ident, "actor": origin.actor, "site_id": origin.site_id}
        return SagaRecord(
            id=ident,
            kind=SagaKind.PIPELINE,
            name=pipeline.name,
            key=ident if origin.key is None else origin.key,
            version=pipeline.version,
            body=msgspec.json.encode(given).decode(),
            context=msgspec.json.encode(context).decode(),
            owner=owner,
            due_at=now,
            begun_at=now,
            moved_at=now,
        )


def result_of(saga: SagaRecord, *, is_repeat: bool = False) -> PipelineResult:
    """Return what a run came to, or how far it is."""
    outputs = [
        one.output for one in saga.steps if one.status is StepStatus.DONE and one.output is not None
    ]
    return PipelineResult(
        id=saga.id,
        pipeline=saga.name,
        status=saga.status,
        body=msgspec.json.decode(saga.body),
        result=msgspec.json.decode(outputs[-1]) if outputs else None,
        skipped=tuple(one.name for one in saga.steps if one.status is StepStatus.SKIPPED),
        is_repeat=is_repeat,
    )


def error_of(saga: SagaRecord, failure: Exception | None) -> PipelineError:
    """Return the error that says what became of a run that is not done."""
    step = next(
        (
            one.name
            for one in reversed(saga.steps)
            if one.status in {StepStatus.FAILED, StepStatus.REFUSED, StepStatus.BEGUN}
            or (one.status is StepStatus.UNDONE and one.error)
        ),
        "",
    )
    error = PipelineError(
        f"the pipeline {saga.name!r} is {saga.status} (run {saga.id}): {saga.error}",
        saga_id=saga.id,
        step=step,
        outcome=saga.status,
    )
    error.__cause__ = failure
    error.trace_id = saga.id
    return error


def _look_at(done: asyncio.Future[PipelineResult]) -> None:
    """Have an outcome that nobody waits for any more not be told as lost."""
    if not done.cancelled():
        done.exception()
