"""A circuit breaker and a budget of retries for calls of an upstream."""

import time
from collections.abc import Callable
from math import ceil

FAILURES = 5  # in a row
# Retries are a fifth of the calls, and a few more. Without a bound of what is saved up, an hour
# without failures would save up a storm of retries.
RATIO, FLOOR, SAVED_UP = 0.2, 3.0, 20.0


class Breaker:
    """Opens after FAILURES failed calls in a row and then refuses calls.

    After `open_s` seconds it lets one trial call through at a time; a success closes it again.
    Each change begins a new period. A call from an earlier one that ends late tells how the
    upstream was then, so its outcome is ignored.
    """

    def __init__(
        self,
        on_change: Callable[[bool], None],
        open_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._open_s, self._on_change, self._clock = FAILURES, open_s, on_change, clock
        self._failures = 0
        self._open_until: float | None = None
        self._trial = False
        self._period = 1

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, except for trials."""
        return self._open_until is not None

    @property
    def retry_after(self) -> int:
        """Whole seconds until the next trial call, at least 1."""
        return max(1, ceil((self._open_until or 0) - self._clock()))

    def allow(self) -> int:
        """The period that the call belongs to, 0 if it may not be made.

        At its end `succeeded`, `failed` or `abandoned` has to be called with it.
        """
        if self._open_until is not None:
            if self._trial or self._clock() < self._open_until:
                return 0
            self._trial = True
            self._period += 1
        return self._period

    def succeeded(self, period: int) -> None:
        """The upstream answered, with whatever status."""
        if period != self._period:
            return
        self._failures = 0
        if self._trial:
            self._open_until, self._trial = None, False
            self._period += 1
            self._on_change(False)

    def failed(self, period: int) -> None:
        """The upstream was away, broke the connection, or did not answer in time."""
        if period != self._period:
            return
        self._failures += 1
        if self._trial or self._failures >= self._limit:
            self._open_until, self._trial = self._clock() + self._open_s, False
            self._period += 1
            self._on_change(True)

    def abandoned(self, period: int) -> None:
        """The call ended without an outcome that tells about the upstream."""
        if period == self._period:
            self._trial = False


class RetryBudget:
    """Allows retries up to RATIO of the calls, plus FLOOR."""

    _tokens = FLOOR

    def deposit(self) -> None:
        """Earn RATIO of a retry, for a call."""
        self._tokens = min(SAVED_UP, self._tokens + RATIO)

    def withdraw(self) -> bool:
        """Spend one retry; False if the budget has none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
