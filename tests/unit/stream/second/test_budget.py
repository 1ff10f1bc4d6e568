"""A day's calls and money, and the turns of requests."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagstream.stream.second.budget import DAY_MS, Budget, Turns
from tests.opinions import OF_AN_ENDPOINT

DAY = OF_AN_ENDPOINT.decided_ms // DAY_MS


def test_a_request_is_paid_for_with_the_most_that_it_can_cost() -> None:
    """Two that might together cost more than the day's money are not sent at once; what comes back can be spent."""
    budget = Budget(calls=10, cost=1.0)
    assert budget.take(0, 0.6)
    assert not budget.take(0, 0.6)
    budget.give_back(0, 0.5)
    assert budget.take(0, 0.6)


def test_the_newest_day_counts() -> None:
    """Records of earlier days, late change and a clock that was set back give no money."""
    budget = Budget(calls=2, cost=1.0)
    budget.seen(OF_AN_ENDPOINT)
    budget.seen(msgspec.structs.replace(OF_AN_ENDPOINT, calls=9, decided_at="2026-11-25T16:20:33.527Z"))
    assert budget.take(DAY * DAY_MS, 0.0)
    assert not budget.take((DAY - 1) * DAY_MS, 0.0)
    assert budget.take((DAY + 1) * DAY_MS, 1.0)
    budget.give_back(DAY * DAY_MS, 1.0)
    assert not budget.take((DAY + 1) * DAY_MS, 0.1)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=50), st.integers(0, 20), st.floats(0, 10))
def test_no_order_of_requests_spends_more_than_the_budget(requests: list[tuple[float, float]], calls: int, cost: float) -> None:
    """Whatever each may cost, and whatever comes back."""
    budget = Budget(calls=calls, cost=cost)
    sent, spent = 0, 0.0
    for most, share in requests:
        if budget.take(0, most):
            sent += 1
            spent += most * share
            budget.give_back(0, most - most * share)
    assert sent <= calls
    assert spent <= cost + 1e-9


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30).map(sorted), st.floats(1, 600))
def test_requests_begin_no_faster_than_the_rate(asked_at: list[float], a_minute: float) -> None:
    """Whenever they ask."""
    turns = Turns(a_minute)
    begun = [at + wait for at in asked_at if (wait := turns.take(at, float("inf"))) is not None]
    assert len(begun) == len(asked_at)
    assert all(later - earlier >= 60 / a_minute - 1e-6 for earlier, later in itertools.pairwise(begun))


def test_a_pause_holds_every_request() -> None:
    """Until its end."""
    turns = Turns(600)
    turns.pause(12.0)
    assert turns.take(10.0, 20.0) == pytest.approx(2.0)
    assert turns.take(10.0, 11.0) is None
