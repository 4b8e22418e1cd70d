"""Traffic that goes on beside the tests: actions in turn, the same every time."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx

from tests.stack.script import MEMBERS, OTHER_JOINS, SOLD_OUT, STOCK, Script

PER_SECOND = 6.0


class Traffic:
    """Goes on until it is closed; what the databases count stays as the script left it.

    (A sign-in changes when a member was last seen; nobody joins, nobody gets a reward.)
    """

    WORKERS = 4

    def __init__(self, script: Script, per_second: float) -> None:
        self.script, self.per_second = script, per_second
        self.doubled_at = 0.0  # s since 1970
        self.away_s: dict[str, float] = {}  # how long a restart of a service took
        self._actions = self._turns()
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._busy = [threading.Lock() for _ in range(self.WORKERS)]
        self._threads = [
            threading.Thread(target=self._work, args=(lock,), daemon=True) for lock in self._busy
        ]
        for thread in self._threads:
            thread.start()

    def double(self) -> None:
        self.per_second *= 2
        self.doubled_at = time.time()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No request is under way inside."""
        with ExitStack() as held:
            for lock in self._busy:
                held.enter_context(lock)
            yield

    def _work(self, busy: threading.Lock) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self.WORKERS / self.per_second, time.monotonic() - 1)
            if self._stop.wait(max(0.001, due - time.monotonic())):
                return
            with busy:
                with self._turn:
                    action = next(self._actions)
                try:
                    action()
                except httpx.HTTPError:
                    self.script.answers["away"] += 1

    def _turns(self) -> Iterator[Callable[[], object]]:
        """Round after round, each with the next member; what is rare comes in some of them."""
        script, get = self.script, self.script.http.get
        for number in itertools.count():
            user, email = script.users[number % MEMBERS]
            joined = script.users[number % OTHER_JOINS][0]  # takes part in both events
            headers = script.trio.headers(user)
            event = f"/events/{script.events['autumn']}"
            reads = ("/events", event, f"{event}/rewards", "/reward-requests")
            # One of five requests is for auth, apart from each other: a short restart of it is
            # felt, and a long one, on a busy machine, fails no share that is alarming.
            for path in (*reads, "/auth/me", *reads):
                yield partial(get, path, headers=headers)
            yield partial(script.sign_in, email)
            yield partial(script.join, joined, ("autumn", "over")[number % 2])
            yield partial(script.claim, joined, ("coupon", "badge", "late")[number % 3])
            if number % 4 == 0:
                late_comer = script.users[STOCK + number % SOLD_OUT][0]
                yield partial(script.claim, late_comer, "points")
                yield partial(script.sign_in, email, "not this one at all")
                yield partial(get, f"/events/{'0' * 24}", headers=headers)
                yield partial(get, "/events")  # without a token
                yield partial(script.renew, email)
            if number % 20 == 0:
                yield script.slow
