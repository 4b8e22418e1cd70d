"""Limits failed sign-ins by account and by address, counted in Redis."""

import hashlib
import math
import time
from typing import Any, NamedTuple

from limits import parse
from limits.aio.storage import MemoryStorage, RedisStorage
from redis.asyncio import Redis

from auth import signals
from plainview import get_logger
from plainview.client_address import IPV6_PREFIX, client_network
from shared.errors import TooMany
from shared.storage.fallback import BUDGET_S, Fallback
from shared.storage.redis import RedisError, patiently

_AWAY = (RedisError, OSError, TimeoutError)
Store = MemoryStorage | RedisStorage


class TooManyFailures(TooMany):
    """The limit of failed sign-ins is used up for `retry_after` seconds."""

    outcome: signals.SignIn = "limited"


class Attempt(NamedTuple):
    """A sign-in that is counted as failed; `give_back` takes the count away."""

    store: Store
    account_key: str
    address_key: str


class SignInLimiter:
    """Counts an attempt before its password is checked.

    Counting afterwards would let many parallel guesses pass before the first of them counted.
    `account` and `address` are limits such as "10/5 minutes", in fixed windows. The account is
    counted only after its address was let in, or a limited stranger would lock out its owner.
    `redis` should be a client of its own whose time-outs are longer than BUDGET_S.
    """

    def __init__(
        self,
        redis: Redis | None,
        account: str,
        address: str,
        *,
        ipv6_prefix: int = IPV6_PREFIX,
    ) -> None:
        self._ipv6_prefix = ipv6_prefix
        self._account, self._address = parse(account), parse(address)
        self._local = MemoryStorage()
        options: dict[str, Any] = {"connection_pool": redis and redis.connection_pool}
        self._shared = redis and RedisStorage("redis://", implementation="redispy", **options)
        self._fallback = Fallback(_changed)

    async def begin(self, account: str, address: str) -> Attempt:
        """Count an attempt; TooManyFailures if the account or the address has none left."""
        hashed = hashlib.sha256(account.encode()).hexdigest()
        account_key = self._account.key_for("auth", "account", hashed)
        address_key = self._address.key_for(
            "auth", "address", client_network(address, self._ipv6_prefix)
        )
        if self._shared and self._fallback.asks_redis():
            try:
                attempt = Attempt(self._shared, account_key, address_key)
                refused = await patiently(self._count(attempt), BUDGET_S)
            except _AWAY:
                self._fallback.report(failed=True)
            else:
                self._fallback.report(failed=False)
                return _admit(attempt, refused)
        attempt = Attempt(self._local, account_key, address_key)
        return _admit(attempt, await self._count(attempt))

    async def give_back(self, attempt: Attempt, *, afresh: bool = False) -> None:
        """Uncount an attempt that did not fail; `afresh` also clears the account's failures."""
        if attempt.store is self._shared and self._fallback.degraded:
            return
        try:
            await patiently(self._uncount(attempt, afresh), BUDGET_S)
        except _AWAY:
            self._fallback.report(failed=True)

    async def _uncount(self, attempt: Attempt, afresh: bool) -> None:
        await attempt.store.incr(attempt.address_key, self._address.get_expiry(), -1)
        if afresh:
            await attempt.store.clear(attempt.account_key)
        else:
            await attempt.store.incr(attempt.account_key, self._account.get_expiry(), -1)

    async def _count(self, attempt: Attempt) -> int:
        """Count the attempt; 0 if it is within both limits, else the seconds to wait."""
        store, account_key, address_key = attempt
        for key, limit in ((address_key, self._address), (account_key, self._account)):
            if await store.incr(key, limit.get_expiry()) > limit.amount:
                # Redis rounds the expiry to the nearest second, so add one: whoever waits this
                # long is let in.
                left = math.ceil(await store.get_expiry(key) - time.time()) + 1
                return min(max(1, left), limit.get_expiry() + 1)
        return 0


def _changed(degraded: bool) -> None:
    signals.limiter_degraded(degraded)
    get_logger("security").warning("sign_in_limiter.changed", degraded=degraded)


def _admit(attempt: Attempt, refused: int) -> Attempt:
    if refused:
        raise TooManyFailures("Too many failed sign-ins", retry_after=refused)
    return attempt
