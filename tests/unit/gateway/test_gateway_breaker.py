"""Breaker and retry budget by a clock of the test."""

from gateway.breaker import Breaker, RetryBudget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: Breaker) -> None:
    breaker.failed(breaker.allow())


def test_a_breaker_opens_after_five_failures_in_a_row() -> None:
    changes: list[bool] = []
    breaker = Breaker(changes.append, 10, Clock())
    for _ in range(4):
        fail(breaker)
    breaker.succeeded(breaker.allow())
    for _ in range(4):
        fail(breaker)
    assert (breaker.is_open, changes) == (False, [])
    fail(breaker)
    assert (breaker.is_open, changes) == (True, [True])
    assert not breaker.allow()


def test_half_open_it_lets_one_through_at_a_time(monkeypatch) -> None:
    changes: list[bool] = []
    clock = Clock()
    monkeypatch.setattr("gateway.breaker.FAILURES", 1)
    breaker = Breaker(changes.append, 10, clock)
    fail(breaker)
    assert breaker.retry_after == 10
    clock.now += 9.9
    assert not breaker.allow()
    assert breaker.retry_after == 1
    clock.now += 0.2
    trial, *others = [breaker.allow() for _ in range(3)]
    assert trial
    assert others == [0, 0]
    breaker.failed(trial)  # closed for as long again
    clock.now += 9.9
    assert not breaker.allow()
    clock.now += 0.2
    breaker.abandoned(breaker.allow())  # its caller left: another may try
    breaker.succeeded(breaker.allow())
    assert breaker.allow()
    assert not breaker.is_open
    assert changes == [True, True, False]


def test_calls_from_before_a_change_tell_nothing(monkeypatch) -> None:
    """They neither prolong the wait, nor end somebody's trial, nor open it anew after one."""
    clock = Clock()
    monkeypatch.setattr("gateway.breaker.FAILURES", 2)
    breaker = Breaker(lambda _: None, 10, clock)
    before = [breaker.allow() for _ in range(9)]
    fail(breaker)
    fail(breaker)
    clock.now += 5
    breaker.failed(before[0])
    clock.now += 5.1
    trial = breaker.allow()
    breaker.failed(before[1])
    breaker.succeeded(before[2])
    breaker.abandoned(before[3])
    assert breaker.is_open
    assert not breaker.allow()  # the trial is still under way
    breaker.succeeded(trial)
    for call in before[4:]:
        breaker.failed(call)
    breaker.failed(trial)  # its reply broke off after its head
    assert breaker.allow()
    assert not breaker.is_open


def test_a_quiet_hour_saves_up_no_storm() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 20
