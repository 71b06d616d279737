"""Breaker, pacing and retries: pure decisions, each with its edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import ConfigError
from trunkline.webhooks.breaker import (
    FEWEST,
    FIRST_PROBE,
    LAST_PROBE,
    OPEN,
    THRESHOLD,
    Health,
    fail,
    room_of,
    succeed,
)
from trunkline.webhooks.delivery_options import EndpointOptions
from trunkline.webhooks.pacing import Bucket, Window
from trunkline.webhooks.retrying import (
    LONGEST_WAIT,
    after_answer,
    after_failure,
    read_retry_after,
)

DAY = 86400.0
NEW = Health()


def failing(times: int, health: Health = NEW, at: float = 1000.0) -> Health:
    for _ in range(times):
        health = fail(health, at, disable_after=5 * DAY, factor=1.0)
    return health


def test_the_breaker_opens_after_so_many_failures_in_a_row() -> None:
    assert room_of(failing(THRESHOLD - 1), 3, 1000.0) is None

    opened = failing(THRESHOLD)

    assert (opened.breaker, opened.opens) == (OPEN, 1)
    assert room_of(opened, 0, 1000.0 + FIRST_PROBE - 0.1) == 0
    assert room_of(opened, 0, 1000.0 + FIRST_PROBE) == 1
    assert room_of(opened, 1, 1000.0 + FIRST_PROBE) == 0


def test_what_was_under_way_when_it_opened_does_not_lengthen_the_wait() -> None:
    opened = failing(THRESHOLD)

    assert failing(5, opened).parked_until == opened.parked_until


def test_each_failed_probe_doubles_the_wait_up_to_a_bound() -> None:
    health, waits, now = failing(THRESHOLD), [], 1000.0
    for _ in range(15):
        now = health.parked_until
        health = fail(health, now, disable_after=500 * DAY, factor=1.0)
        waits.append(health.parked_until - now)

    assert waits[:3] == [2 * FIRST_PROBE, 4 * FIRST_PROBE, 8 * FIRST_PROBE]
    assert waits[-1] == LAST_PROBE


def test_a_success_forgives_everything() -> None:
    assert succeed(failing(20), 2000.0) == Health(succeeded_at=2000.0, failed_at=1000.0)


def test_it_is_disabled_after_failures_alone_for_long_with_warnings_before() -> None:
    notices = []
    health = failing(FEWEST)
    for hour in range(0, 121, 12):
        health = fail(health, 1000.0 + hour * 3600, disable_after=5 * DAY, factor=1.0)
        notices.append(health.notice)

    assert notices == [0, 0, 0, 0, 0, 50, 50, 70, 70, 90, 100]
    assert not health.is_enabled
    assert room_of(health, 0, 1e12) == 0


def test_few_failures_far_apart_do_not_disable() -> None:
    health = fail(failing(1), 1000.0 + 50 * DAY, disable_after=5 * DAY, factor=1.0)

    assert health.is_enabled


def test_an_endpoint_may_ask_to_be_left_alone_for_an_hour_at_most() -> None:
    assert fail(Health(), 0.0, disable_after=DAY, factor=1, pause=60).parked_until == 60
    assert fail(Health(), 0.0, disable_after=DAY, factor=1, pause=1e9).parked_until == 3600


def test_a_window_doubles_until_the_first_trouble_and_then_grows_slowly() -> None:
    window = Window(64)
    for _ in range(4):
        window.widen(window.limit)
    assert window.limit == 8
    window.narrow(0.0)
    window.narrow(0.5)  # the same trouble
    assert window.limit == 4
    window.widen(4)
    assert window.limit == 4
    for _ in range(5):
        window.widen(10)
    assert window.limit == 5


def test_a_window_that_is_not_filled_does_not_widen() -> None:
    window = Window(64)
    for _ in range(100):
        window.widen(1)
    assert window.limit == 4


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 100))
def test_a_window_always_lets_one_through_and_never_too_many(events, most) -> None:
    window = Window(most)
    for number, is_well in enumerate(events):
        window.widen(window.limit) if is_well else window.narrow(float(number))
        assert 1 <= window.limit <= most


def test_a_bucket_fills_steadily_and_is_bounded() -> None:
    bucket = Bucket(10, 0.0)
    bucket.take(bucket.available(0.0))
    assert bucket.available(0.05) == 0
    assert bucket.available(0.5) == 5
    assert bucket.available(100.0) == 10
    slow = Bucket(0.1, 0.0)
    assert slow.available(0.0) == 1
    slow.take(1)
    assert slow.available(9.0) == 0
    assert slow.available(10.1) == 1


OPTIONS = EndpointOptions(schedule=(10.0, 100.0), spread=0.1, gives_up_on=(422,))


def answered(status, retry_after=None, tries=1):
    return after_answer(status, retry_after, options=OPTIONS, tries=tries, now=1000.0, factor=1.0)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_only_2xx_is_a_success(status) -> None:
    assert answered(status).is_success


@pytest.mark.parametrize("status", [100, 300, 301, 302, 304, 307, 400, 404, 408, 500, 599])
def test_everything_else_is_tried_again(status) -> None:
    step = answered(status)
    assert (step.state, step.due_at) == ("failed", pytest.approx(1011.0))


def test_gone_and_what_the_endpoint_gives_up_on_is_over() -> None:
    assert (answered(410).state, answered(410).gone) == ("dead", True)
    assert (answered(422).state, answered(422).gone) == ("dead", False)


def test_the_schedule_ends() -> None:
    assert answered(500, tries=2).due_at == pytest.approx(1110.0)
    assert answered(500, tries=3).state == "dead"
    assert after_failure(OPTIONS, 3, now=0, factor=0).state == "dead"


def test_retry_after_lengthens_the_wait_but_never_shortens_it() -> None:
    assert answered(503, "60").due_at == 1060.0
    assert answered(503, "1").due_at == pytest.approx(1011.0)
    assert answered(429, str(10**8)).due_at == 1000.0 + LONGEST_WAIT
    assert answered(429, "60").pause == 60.0
    assert answered(400, "60").pause is None
    assert answered(429, "Thu, 01 Jan 1970 00:20:00 GMT").due_at == 1200.0


@given(st.one_of(st.none(), st.text(), st.sampled_from(["-1", "1e3", "٣", "Thu, 99 Foo", "0x1"])))
def test_any_retry_after_is_a_time_or_nothing(text) -> None:
    found = read_retry_after(text, 1000.0)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    "given_",
    [{"schedule": (-1.0,)}, {"spread": 2}, {"timeout": 0}, {"rate": 0}, {"concurrency": 0}],
)
def test_options_out_of_range_are_refused(given_) -> None:
    with pytest.raises(ConfigError):
        EndpointOptions(**given_)
