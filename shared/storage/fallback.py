"""Limits while Redis is away: each process counts by itself, and tries Redis now and then."""

import time
from collections.abc import Callable

BUDGET_S = 0.25  # longest that a request waits for a Redis that hangs
RETRY_S = 2.0  # after a failure Redis is not asked for this long
# A client for limits has longer time-outs than BUDGET_S. The limits bound their waiting themselves
# and can tell a slow Redis from a busy process, so a late answer is still read.
CLIENT_TIMEOUT_S = 2.0


class Fallback:
    """Whether Redis is asked; `on_change` is told when it is given up (True) and when it works."""

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        self._ask_at = 0.0
        self.degraded = False

    def asks_redis(self) -> bool:
        """Whether this request asks Redis. While it is away one does every RETRY_S seconds."""
        if time.monotonic() < self._ask_at:
            return False
        if self.degraded:  # this request tries it, the others go on without waiting for the answer
            self._ask_at = time.monotonic() + RETRY_S
        return True

    def report(self, failed: bool) -> None:
        """Note how asking Redis ended."""
        self._ask_at = time.monotonic() + RETRY_S if failed else 0.0
        if failed != self.degraded:
            self.degraded = failed
            self._on_change(failed)
