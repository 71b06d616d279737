"""Everybody gets turns: tenants, endpoints and lanes, whoever has how much."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trunkline.webhooks.breaker import Health
from trunkline.webhooks.claims import Endpoint, Lane
from trunkline.webhooks.delivery_options import EndpointOptions
from trunkline.webhooks.fairness import YOUNG_MOST, Fairness


def fairness_of(endpoints, *, concurrency=1000, slow_share=0.5, per_host=1000) -> Fairness:
    """Know endpoints, given as name, tenant, lanes and options."""
    fairness = Fairness(concurrency, slow_share, per_host)
    for name, tenant, lanes, options in endpoints:
        url = f"https://{name.split('@')[-1]}.example:444/hook"
        endpoint = Endpoint(
            id=name,
            app_id=None,
            tenant=tenant,
            url=url,
            health=Health(),
            options=EndpointOptions(**options),
        )
        fairness.learn([endpoint], 0.0)
        for lane in lanes:
            fairness.add(Lane(name, lane, 0.0))
    return fairness


def test_tenants_share_alike_however_many_endpoints_they_have() -> None:
    many = [(f"m{n}", "many", ["a"], {}) for n in range(50)]
    fairness = fairness_of([*many, ("one", "few", ["a"], {})])

    rooms = fairness.plan(8, 0.0, 0.0)

    assert rooms["one", "a"] == 4


def test_lanes_of_an_endpoint_take_turns_over_several_plans() -> None:
    fairness = fairness_of([("e", "", ["a", "b", "c"], {"concurrency": 1})])
    served: Counter = Counter()
    for number in range(9):
        rooms = fairness.plan(10, 0.0, 0.0)
        served.update(rooms)
        fairness.settle(rooms, rooms)
        fairness.begin([("e", number)], 0.0)
        fairness.end("e", number)

    assert set(served.values()) == {3}


def test_an_endpoint_gets_no_more_than_its_window() -> None:
    fairness = fairness_of([("e", "", ["a"], {"concurrency": 3})])

    assert sum(fairness.plan(100, 0.0, 0.0).values()) == 3
    fairness.begin([("e", 1), ("e", 2)], 0.0)
    assert sum(fairness.plan(100, 0.0, 0.0).values()) == 1


def test_a_lane_that_gave_less_than_it_was_asked_for_is_left_alone() -> None:
    fairness = fairness_of([("e", "", ["a", "b"], {})])
    rooms = fairness.plan(4, 0.0, 0.0)

    fairness.settle(rooms, {("e", "a"): 0, ("e", "b"): rooms["e", "b"]})

    assert {lane for _, lane in fairness.plan(4, 0.0, 0.0)} == {"b"}


def test_slow_endpoints_together_get_a_share_only() -> None:
    slow = [(f"s{n}", "", ["a"], {"concurrency": 10}) for n in range(10)]
    fairness = fairness_of([*slow, ("well", "", ["a"], {})], concurrency=40, slow_share=0.25)
    fairness.begin([(f"s{n}", n) for n in range(10)], 0.0)

    rooms = fairness.plan(100, 10.0, 0.0)

    assert set(rooms) == {("well", "a")}


def test_slow_endpoints_leave_a_share_of_their_host_to_the_others_there() -> None:
    slow = [(f"{n}@mall", "", ["a"], {"concurrency": 10}) for n in range(10)]
    fairness = fairness_of([*slow, ("well@mall", "", ["a"], {})], per_host=20, slow_share=0.5)
    fairness.begin([(f"{n}@mall", n) for n in range(10)], 0.0)

    rooms = fairness.plan(100, 10.0, 0.0)

    assert set(rooms) == {("well@mall", "a")}


def test_requests_that_hang_are_not_lively() -> None:
    fairness = fairness_of([("hangs", "", ["a"], {}), ("well", "", ["a"], {})])
    fairness.begin([("hangs", 1), ("hangs", 2)], 0.0)
    fairness.begin([("well", 3)], 9.5)
    fairness.plan(100, 10.0, 0.0)

    assert fairness.lively == 1
    fairness.end("well", 3)
    assert fairness.lively == 0


def test_requests_that_just_began_are_bounded() -> None:
    many = [(f"e{n}", "", ["a"], {}) for n in range(500)]
    fairness = fairness_of(many)
    fairness.begin([(f"e{n}", n) for n in range(YOUNG_MOST)], 1.0)

    assert fairness.plan(100, 1.0, 0.0) == {}
    assert fairness.plan(100, 2.0, 0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.integers(1, 3), st.integers(1, 8)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 60),
)
def test_no_plan_starves_anybody_or_exceeds_a_bound(given_, limit) -> None:
    endpoints = [
        (f"e{number}", tenant, [f"l{lane}" for lane in range(lanes)], {"concurrency": most})
        for number, (tenant, lanes, most) in enumerate(given_)
    ]
    fairness = fairness_of(endpoints)

    rooms = fairness.plan(limit, 0.0, 0.0)

    by_endpoint: Counter = Counter()
    by_tenant: Counter = Counter()
    for (endpoint, _), room in rooms.items():
        by_endpoint[endpoint] += room
        by_tenant[given_[int(endpoint[1:])][0]] += room
    capacity: Counter = Counter()
    for number, (tenant, _, most) in enumerate(given_):
        assert by_endpoint[f"e{number}"] <= min(4, most)
        capacity[tenant] += min(4, most)
    assert sum(rooms.values()) == min(limit, sum(capacity.values()))
    for tenant, room in capacity.items():  # who could take more got as much as anybody
        if by_tenant[tenant] < room:
            assert by_tenant[tenant] >= max(by_tenant.values()) - 1


def test_a_host_gets_no_more_than_its_share_whosever_endpoints_it_has() -> None:
    crowd = [(f"{n}@victim", f"tenant {n}", ["a"], {}) for n in range(50)]
    fairness = fairness_of([*crowd, ("other", "tenant", ["a"], {})], per_host=10)

    rooms = fairness.plan(500, 0.0, 0.0)
    to_victim = [(name, n) for (name, _), n in rooms.items() if name.endswith("@victim")]
    assert sum(n for _, n in to_victim) == 10
    assert rooms["other", "a"] > 0
    begun = [(name, seq) for seq, (name, _) in enumerate(to_victim)]
    fairness.begin(begun, 0.0)
    later = fairness.plan(500, 1.0, 1.0)
    free = 10 - len(begun)
    assert sum(n for (name, _), n in later.items() if name.endswith("@victim")) == free
    for name, seq in begun:
        fairness.end(name, seq)
    again = fairness.plan(500, 2.0, 2.0)
    assert sum(n for (name, _), n in again.items() if name.endswith("@victim")) == 10
