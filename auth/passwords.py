"""argon2id away from the event loop: few at once, few waiting, and none for hopeless passwords."""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.errors import Invalid, Unavailable

MIN_LENGTH, MAX_LENGTH = 8, 128
T = TypeVar("T")


class Verdict(NamedTuple):
    """Whether a password fits; `new_hash` is set if its hash has out-of-date parameters."""

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
    bare = folded.rstrip("0123456789!?.*#")  # "password2026!" is as common as "password"
    steps = {ord(after) - ord(before) for before, after in pairwise(folded)}
    trivial = len(steps) == 1 and steps <= {-1, 0, 1}  # 23456789, hgfedcba, aaaaaaaa
    if trivial or folded in words or not _common().isdisjoint((folded, bare)):
        detail = "This password is among the first that anybody would try"
        raise Invalid(detail, code="weak_password")


class Passwords:
    """argon2id (m=19 MiB, t=2, p=1: OWASP's minimum) in `threads`, with `waiting` more at most."""

    def __init__(
        self, threads: int = 2, waiting: int = 100, *, memory_kib: int = 19_456, time_cost: int = 2
    ) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._room = threads + waiting
        # checked for users that do not exist, so that they take as long as those that do
        self._dummy = self._hasher.hash(secrets.token_hex())

    async def hash(self, password: str) -> str:
        """The encoded hash. Unavailable if too many wait."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Whether the password fits the stored hash; None takes as long and never fits."""
        return await self._run(lambda: self._verify(stored, _normal(password)))

    def _verify(self, stored: str | None, password: str) -> Verdict:
        try:
            self._hasher.verify(stored or self._dummy, password)
        except (VerificationError, InvalidHashError):
            return Verdict(fits=False)
        outdated = stored is not None and self._hasher.check_needs_rehash(stored)
        return Verdict(stored is not None, self._hasher.hash(password) if outdated else None)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._room <= 0:
            raise Unavailable("Too many sign-ins at the moment", code="busy", retry_after=1)
        self._room -= 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._leave)
        return await future

    def _leave(self, _: object) -> None:
        self._room += 1

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _normal(password: str) -> str:
    # the same characters typed on another system can be other code points (NIST SP 800-63B)
    return unicodedata.normalize("NFKC", password)
