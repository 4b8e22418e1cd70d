"""What the service works with, connected; tests give their own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx

from event.claim_repository import ClaimRepository
from event.claims import Claims
from event.consumer import BLOCK_S, Consumer
from event.gauges import Gauges
from event.service import Service
from event.settings import Settings
from plainview import Check, get_logger, observe_client, request_context
from shared.background import background
from shared.errors import Timeout, Unavailable
from shared.storage import mongo, redis
from shared.token_keys import RemoteJwks
from shared.tokens import TokenVerifier
from shared.web.security import Verifier

log = get_logger("job")


@dataclass
class Deps:
    """`checks` by name; `jobs` run until the service stops."""

    claims: Claims
    service: Service
    verifier: Verifier
    checks: dict[str, Check] = field(default_factory=dict)
    jobs: tuple[Callable[[], Awaitable[None]], ...] = ()

    def start(self, stack: AsyncExitStack) -> None:
        """Start the jobs; they end with `stack`."""
        for job in self.jobs:
            background(stack, job())


def connect(settings: Settings, stack: AsyncExitStack) -> Deps:
    """Connect to everything; `stack` closes it."""
    client = mongo.connect(settings.mongo_url.get_secret_value(), settings.mongo_driver, "event")
    stack.push_async_callback(client.close)
    # its only user waits for new messages
    cache = redis.connect(settings.redis_url.get_secret_value(), timeout_s=2 * BLOCK_S)
    stack.push_async_callback(cache.aclose)
    http = observe_client(httpx.AsyncClient(timeout=2, trust_env=False), "auth")
    stack.push_async_callback(http.aclose)

    repository = ClaimRepository(client.database(settings.mongo_database))
    keys = RemoteJwks(http, settings.keys_url)
    verifier = TokenVerifier(keys, settings.token_issuer, settings.token_audience)
    claims = Claims(repository, settings.business_timezone, settings.claim_stale_seconds)
    prepared = asyncio.Event()

    async def prepare() -> None:
        while not prepared.is_set():
            try:
                await repository.create_indexes()
                prepared.set()
            except (Timeout, Unavailable):
                await asyncio.sleep(1)

    async def ready() -> None:
        await client.ping()
        if not prepared.is_set():
            raise Unavailable("The indexes are not made yet")

    async def reconcile() -> None:
        await claims.recover_stale()
        await claims.sweep()

    async def after_preparation(work: Callable[[], Awaitable[None]]) -> None:
        await prepared.wait()
        await work()

    consumer = Consumer(cache, repository, settings.business_timezone)
    return Deps(
        claims,
        Service(repository),
        verifier,
        {"mongo": Check(ready), "redis": Check(cache.ping, required=False)},
        (
            prepare,
            lambda: after_preparation(consumer.run),
            lambda: after_preparation(every(settings.reconcile_seconds, reconcile)),
            lambda: after_preparation(every(settings.signals_seconds, Gauges(repository).refresh)),
        ),
    )


def every(seconds: float, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """`work` again and again, whatever it raises; slow work leaves longer pauses, of its length."""

    async def run() -> None:
        while True:
            start = time.monotonic()
            try:
                with request_context():
                    await work()
            except (Timeout, Unavailable) as exc:
                log.warning("job.postponed", job=work.__name__, error_type=type(exc).__name__)
            except Exception:
                log.exception("job.failed", job=work.__name__)
            await asyncio.sleep(max(seconds, time.monotonic() - start))

    return run
