"""Decisions about sagas: each step once forward, each undo once backward, in reverse order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline.cqrs import saga_decisions as decisions
from trunkline.cqrs.saga_decisions import Finish, Run, Undo
from trunkline.errors import ConflictError
from trunkline.store.saga_record import (
    Heading,
    SagaKind,
    SagaRecord,
    SagaStatus,
    StepStatus,
)

NAMES = ("a", "b", "c", "d")


def saga(status: SagaStatus = SagaStatus.RUNNING) -> SagaRecord:
    return SagaRecord(
        id="s",
        kind=SagaKind.COMMAND,
        name="create.user",
        key="k",
        status=status,
        body="{}",
        owner="me",
        begun_at=0.0,
        moved_at=0.0,
    )


def begun(record: SagaRecord, name: str, undo: str = "undo") -> SagaRecord:
    return decisions.begin_step(record, name, undo=undo, undo_data=None, now=1.0).saga


def done(record: SagaRecord, *names: str) -> SagaRecord:
    for name in names:
        record = decisions.end_step(begun(record, name), name, output="1", now=2.0).saga
    return record


class World(RuleBasedStateMachine):
    """Walk a saga through all that can happen to it, dying and being found again included."""

    def __init__(self) -> None:
        super().__init__()
        self.saga = saga()
        self.effects: list[str] = []  # steps whose effect stands, in order
        self.undone: list[str] = []
        self.left_out: set[str] = set()

    def take(self, change) -> None:
        # What is written is what comes back: a crash in between loses nothing else.
        self.saga = change.saga
        stored = {one.name: one for one in self.saga.steps}
        assert all(stored[one.name] == one for one in change.steps)

    @property
    def status(self) -> SagaStatus:
        return self.saga.status

    @precondition(lambda self: self.status is SagaStatus.RUNNING)
    @rule(outcome=st.sampled_from(["done", "failed", "refused", "died before", "died after"]))
    def go_forward(self, outcome) -> None:
        action = decisions.next_forward(self.saga, NAMES)
        if isinstance(action, Finish):
            return
        self.take(
            decisions.begin_step(
                self.saga, action.name, undo=f"un{action.name}", undo_data=None, now=1.0
            )
        )
        if outcome in {"done", "failed", "died after"} and action.name not in self.effects:
            self.effects.append(action.name)
        if outcome == "done":
            self.take(decisions.end_step(self.saga, action.name, output=None, now=2.0))
        elif outcome in {"failed", "refused"}:
            if outcome == "refused" and action.name in self.effects:
                self.effects.remove(action.name)  # an earlier try's effect, it says, is none
            self.take(
                decisions.fail_step(
                    self.saga, action.name, error="no", is_refusal=outcome == "refused", now=2.0
                )
            )

    @precondition(lambda self: self.status is SagaStatus.RUNNING)
    @rule()
    def turn_round(self) -> None:
        self.take(decisions.turn_round(self.saga, error="why", now=3.0))

    @precondition(lambda self: self.status is SagaStatus.RUNNING)
    @rule()
    def commit(self) -> None:
        if isinstance(decisions.next_forward(self.saga, NAMES), Finish):
            self.take(decisions.settle(self.saga, SagaStatus.DONE, now=3.0))

    @precondition(lambda self: self.status is SagaStatus.UNDOING)
    @rule(outcome=st.sampled_from(["done", "again", "no more"]))
    def go_backward(self, outcome) -> None:
        action = decisions.next_backward(self.saga)
        if isinstance(action, Finish):
            self.take(decisions.settle(self.saga, action.status, now=4.0))
            return
        name = action.step.name
        if outcome == "done":
            self.undone.append(name)
            if name in self.effects:
                self.effects.remove(name)
            self.take(decisions.end_undo(self.saga, name, now=4.0))
        else:
            delay = 1.0 if outcome == "again" else None
            self.take(decisions.fail_undo(self.saga, name, error="no", delay=delay, now=4.0))

    @precondition(lambda self: not self.status.is_final)
    @rule()
    def retry(self) -> None:
        left = msgspec.structs.replace(self.saga, owner="")
        self.take(decisions.retry(left, now=5.0))

    @precondition(lambda self: self.status is SagaStatus.STUCK)
    @rule()
    def skip(self) -> None:
        action = decisions.next_backward(self.saga)
        assert isinstance(action, Undo)
        self.left_out.add(action.step.name)
        self.take(decisions.skip(self.saga, now=5.0))

    @precondition(lambda self: self.status.is_final)
    @rule()
    def rest(self) -> None:
        """Nothing happens at the end."""

    @invariant()
    def nothing_is_undone_twice_or_out_of_order(self) -> None:
        assert len(set(self.undone)) == len(self.undone)
        numbers = {one.name: one.number for one in self.saga.steps}
        order = [numbers[name] for name in self.undone]
        assert order == sorted(order, reverse=True)

    @invariant()
    def an_end_leaves_all_effects_or_none(self) -> None:
        if self.status is SagaStatus.DONE:
            assert set(self.effects) == set(NAMES)
            assert not self.undone
        elif self.status is SagaStatus.UNDONE:
            assert set(self.effects) <= self.left_out

    @invariant()
    def numbers_count_the_steps(self) -> None:
        assert [one.number for one in self.saga.steps] == list(range(1, len(self.saga.steps) + 1))


TestWorld = World.TestCase


def test_forward_a_step_that_was_added_later_runs_and_moves_no_other():
    record = done(saga(), "a", "c")
    assert decisions.next_forward(record, ("a", "b", "c")) == Run("b")
    assert decisions.next_forward(done(record, "b"), ("a", "b", "c")) == Finish(SagaStatus.DONE)


def test_a_step_that_only_began_is_undone_too():
    record = begun(done(saga(), "a"), "b")
    action = decisions.next_backward(record)
    assert isinstance(action, Undo)
    assert action.step.name == "b"
    assert action.step.status is StepStatus.BEGUN


def test_a_step_that_refused_is_not_undone():
    record = begun(done(saga(), "a"), "b")
    record = decisions.fail_step(record, "b", error="no", is_refusal=True, now=2.0).saga
    action = decisions.next_backward(record)
    assert isinstance(action, Undo)
    assert action.step.name == "a"


def test_a_step_without_undo_is_left_as_it_is():
    record = decisions.end_step(begun(saga(), "a", undo=""), "a", output=None, now=2.0).saga
    assert decisions.next_backward(record) == Finish(SagaStatus.UNDONE)


def test_an_undo_that_no_code_declares_is_named():
    record = done(saga(), "a")
    assert decisions.gone_undo(record, {"undo"}) is None
    assert decisions.gone_undo(record, {"other"}) == record.step("a")


def test_a_retry_of_what_is_stuck_goes_on_the_way_it_went():
    record = decisions.turn_round(done(saga(), "a"), error="x", now=1.0).saga
    record = decisions.fail_undo(record, "a", error="no", delay=None, now=2.0).saga
    assert (record.status, record.heading) == (SagaStatus.STUCK, Heading.BACKWARD)
    assert "a cannot be undone: no" in record.error
    again = decisions.retry(record, now=3.0)
    assert again.saga.status is SagaStatus.UNDOING
    assert again.steps[0].undo_attempts == 0
    stopped = decisions.settle(saga(), SagaStatus.STOPPED, now=1.0, error="x").saga
    assert decisions.retry(stopped, now=2.0).saga.status is SagaStatus.RUNNING


def test_skipping_the_step_that_stopped_a_pipeline_goes_on_behind_it():
    record = begun(done(saga(), "a"), "b")
    record = decisions.fail_step(record, "b", error="no", is_refusal=False, now=2.0).saga
    record = decisions.settle(record, SagaStatus.STOPPED, now=2.0, error="no").saga
    record = decisions.skip(record, now=3.0).saga
    assert decisions.next_forward(record, ("a", "b", "c")) == Run("c")


@given(st.sampled_from([one for one in SagaStatus if one.is_final]))
def test_what_is_at_its_end_stays_there(status):
    record = saga(status)
    for decide in (decisions.retry, decisions.skip):
        with pytest.raises(ConflictError):
            decide(record, now=1.0)
    with pytest.raises(ConflictError):
        decisions.abandon(record, reason="x", now=1.0)


def test_with_nothing_in_the_way_there_is_nothing_to_skip():
    with pytest.raises(ConflictError, match="in the way"):
        decisions.skip(msgspec.structs.replace(saga(), owner=""), now=1.0)


def test_what_somebody_works_on_is_left_to_them():
    for decide in (decisions.retry, decisions.skip):
        with pytest.raises(ConflictError, match="worked on"):
            decide(saga(), now=1.0)


def test_an_error_on_record_has_a_bounded_length():
    record = begun(saga(), "a")
    failed = decisions.fail_step(record, "a", error="x" * 10_000, is_refusal=False, now=1.0)
    assert len(failed.steps[0].error) == decisions.ERROR
    assert msgspec.json.encode(failed.saga)
