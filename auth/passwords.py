"""Password rules, and hashing in a few threads with a bounded wait."""

import asyncio
import math
import secrets
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from auth import signals
from shared.errors import Invalid, Unavailable
from shared.password_hash import Hasher

MIN_LENGTH, MAX_LENGTH = 8, 128
T = TypeVar("T")


class Checked(NamedTuple):
    """Whether a password fits its hash.

    `new_hash` replaces a hash that was made with out-of-date parameters, else it is None.
    """

    fits: bool
    new_hash: str | None = None


@cache
def _common() -> frozenset[str]:
    lines = Path(__file__).with_name("common_passwords.txt").read_text().splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def refuse_common(password: str, *personal: str) -> None:
    """Raise Invalid for a common or trivial password, or one of the `personal` words."""
    folded = _normal(password).casefold()
    words = {part for word in personal for part in (word.casefold(), *word.casefold().split("@"))}
    bare = folded.rstrip("0123456789!?.*#")  # so that "password2026!" counts as "password"
    steps = {ord(after) - ord(before) for before, after in pairwise(folded)}
    trivial = len(steps) == 1 and steps <= {-1, 0, 1}  # 23456789, hgfedcba, aaaaaaaa
    if trivial or folded in words or not _common().isdisjoint((folded, bare)):
        detail = "This password is among the first that anybody would try"
        raise Invalid(detail, code="weak_password")


class Passwords:
    """Hashes in `threads`, away from the event loop; 19 MiB each unless `hasher` says otherwise.

    A request that would wait for a thread for longer than `wait_s` seconds is refused at once:
    its client would have given up by then, and the useless hash would delay those behind it.
    """

    def __init__(self, threads: int = 2, wait_s: float = 2.0, hasher: Hasher | None = None) -> None:
        self._hasher = hasher or Hasher()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._threads, self._wait_s, self._inside = threads, wait_s, 0
        began = time.monotonic()
        # Checked when there is no such user, so that the time of a reply does not tell which
        # users exist.
        self._dummy = self._hasher.hash(secrets.token_hex())
        self.each_s = time.monotonic() - began
        """Seconds that one hash takes, as a moving average."""

    async def hash(self, password: str) -> str:
        """The encoded hash; Unavailable if the wait for a thread would be too long."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> Checked:
        """Whether the password fits the stored hash; None takes as long and never fits.

        Unavailable if the wait for a thread would be too long.
        """
        return await self._run(lambda: self._verify(stored, _normal(password)))

    def _verify(self, stored: str | None, password: str) -> Checked:
        if not self._hasher.fits(stored or self._dummy, password) or stored is None:
            return Checked(fits=False)
        outdated = self._hasher.outdated(stored)
        return Checked(fits=True, new_hash=self._hasher.hash(password) if outdated else None)

    async def _run(self, work: Callable[[], T]) -> T:
        ahead = max(0, self._inside - self._threads + 1)
        wait_s = ahead * self.each_s / self._threads
        if wait_s > self._wait_s:
            raise _busy("refused", wait_s)
        queued = time.monotonic()

        def timed() -> tuple[float, T | None]:
            began = time.monotonic()
            if began - queued > self._wait_s and ahead:  # hashing became slower than estimated
                return 0.0, None
            result = work()
            return time.monotonic() - began, result

        self._inside += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, timed)
        future.add_done_callback(self._leave)
        took, result = await future
        if result is None:
            raise _busy("late", self._wait_s)
        signals.password_hashed("done")
        self.each_s += (took - self.each_s) / 8
        return result

    def _leave(self, _: object) -> None:
        self._inside -= 1

    def close(self) -> None:
        """End the threads; hashes that have not begun are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _busy(outcome: signals.PasswordHash, wait_s: float) -> Unavailable:
    signals.password_hashed(outcome)
    detail = "Too many sign-ins at the moment"
    return Unavailable(detail, code="busy", retry_after=max(1, math.ceil(wait_s)))


def _normal(password: str) -> str:
    # Systems encode the same typed characters as different code points (NIST SP 800-63B).
    return unicodedata.normalize("NFKC", password)
