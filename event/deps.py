"""The objects that the service works with, connected; tests pass in their own."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx

from event.claims import Claims
from event.consumer import BLOCK_S, Consumer
from event.gauges import Gauges
from event.service import Service
from event.settings import Settings
from event.store import Store
from plainview import Check, checks, observe_httpx
from shared.background import close_at_exit, repeat
from shared.storage import mongo, redis
from shared.token_keys import RemoteJwks
from shared.tokens import TokenVerifier


@dataclass(frozen=True)
class Deps:
    """`checks` by name of dependency."""

    claims: Claims
    service: Service
    verifier: TokenVerifier
    checks: Mapping[str, Check] = field(default_factory=dict)


def connect(settings: Settings, stack: AsyncExitStack) -> Deps:
    """Connect and start the jobs; `stack` ends all. Does not wait for servers that are away."""
    client = mongo.connect(settings.mongo_url.get_secret_value(), settings.mongo_driver, "event")
    close_at_exit(stack, "mongo", client.close)
    # The consumer's reads hold a connection for up to BLOCK_S, so its time-out has to be longer.
    cache = redis.connect(settings.redis_url.get_secret_value(), timeout_s=2 * BLOCK_S)
    close_at_exit(stack, "redis", cache.aclose)
    http = observe_httpx(httpx.AsyncClient(timeout=2, trust_env=False), "auth")
    close_at_exit(stack, "auth", http.aclose)

    store = Store(client.database(settings.mongo_database))
    keys = RemoteJwks(http, settings.keys_url)
    verifier = TokenVerifier(keys, settings.token_issuer, settings.token_audience)
    claims = Claims(store, settings.business_timezone, settings.claim_stale_seconds)
    consumer = Consumer(cache, store.members, settings.business_timezone)
    gauges = Gauges(store)

    async def ready() -> None:
        await client.ping()
        store.indexes.check()

    def indexed(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            await store.indexes.make()
            await work()

        return turn

    repeat(stack, "consumer", indexed(consumer.turn))
    repeat(stack, "reconciler", indexed(claims.recovery.turn), pause_s=settings.reconcile_seconds)
    repeat(stack, "gauges", indexed(gauges.turn), pause_s=settings.signals_seconds)
    asked = {"mongo": Check(ready), "redis": checks.redis(cache, required=False)}
    return Deps(claims, Service(store), verifier, asked)
