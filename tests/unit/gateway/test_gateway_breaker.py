"""Breaker and retry budget by a clock of the test."""

import pytest

from shared.web.breaker import Breaker, RetryBudget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_after_five_failures_in_a_row() -> None:
    changes: list[bool] = []
    breaker = Breaker(5, 10, changes.append, Clock())
    for _ in range(4):
        breaker.failed()
    breaker.succeeded()
    for _ in range(4):
        breaker.failed()
    assert (breaker.is_open, changes) == (False, [])
    breaker.failed()
    assert (breaker.is_open, changes) == (True, [True])
    assert not breaker.allow()


def test_half_open_it_lets_one_through_at_a_time() -> None:
    changes: list[bool] = []
    clock = Clock()
    breaker = Breaker(1, 10, changes.append, clock)
    breaker.failed()
    assert breaker.retry_after == 10
    clock.now += 9.9
    assert not breaker.allow()
    assert breaker.retry_after == 1
    clock.now += 0.2
    assert [breaker.allow() for _ in range(3)] == [True, False, False]
    breaker.failed()  # the trial: closed for as long again
    clock.now += 9.9
    assert not breaker.allow()
    clock.now += 0.2
    assert breaker.allow()
    breaker.abandoned()  # its caller left: another may try
    assert breaker.allow()
    breaker.succeeded()
    assert breaker.allow()
    assert not breaker.is_open
    assert changes[-1] is False


def test_late_failures_of_calls_from_before_do_not_prolong_it() -> None:
    clock = Clock()
    breaker = Breaker(1, 10, clock=clock)
    breaker.failed()
    clock.now += 5
    breaker.failed()
    clock.now += 5.1
    assert breaker.allow()


@pytest.mark.parametrize("calls", [0, 10, 1000])
def test_retries_are_a_fifth_of_the_calls_and_a_floor(calls: int) -> None:
    budget, retries = RetryBudget(0.2, 3, 20), 0
    for _ in range(calls):
        budget.deposit()
        retries += budget.withdraw()
    while budget.withdraw():
        retries += 1
    assert int(calls * 0.2) <= retries <= calls * 0.2 + 3


def test_a_quiet_hour_saves_up_no_storm() -> None:
    budget = RetryBudget(0.2, 3, 20)
    for _ in range(10_000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 20
