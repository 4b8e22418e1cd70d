"""The objects that the gateway works with, connected; tests pass in their own."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx

from gateway.active_users import ActiveUsers
from gateway.limits import Limits
from gateway.settings import Settings
from gateway.signals import UPSTREAMS, UpstreamSignals
from plainview import Check, checks, observe_httpx
from plainview.client_address import IPV6_PREFIX, Networks
from shared.background import close_at_exit, repeat
from shared.storage import redis
from shared.token_keys import RemoteJwks
from shared.tokens import TokenVerifier
from shared.web.client import Deadlines, Places, UpstreamClient
from shared.web.security import Verifier
from shared.web.transport import UpstreamTransport

FLUSH_S = 5.0
LIMITER_TIMEOUT_S = 2.0  # longer than gateway.limits.BUDGET_S, so that a late answer is still read


@dataclass
class Deps:
    """`upstreams` by name, `checks` by name of dependency."""

    limits: Limits
    verifier: Verifier
    active_users: ActiveUsers
    upstreams: dict[str, UpstreamClient]
    trusted_proxies: Networks = ()
    checks: dict[str, Check] = field(default_factory=dict)
    ipv6_prefix: int = IPV6_PREFIX


def connect(settings: Settings, stack: AsyncExitStack) -> Deps:
    """Connect to Redis and the upstreams; `stack` closes everything."""
    cache = redis.connect(settings.redis_url.get_secret_value())
    close_at_exit(stack, "redis", cache.aclose)
    probes = httpx.AsyncClient(timeout=1, trust_env=False)
    close_at_exit(stack, "probes", probes.aclose)
    # The limiter bounds its waiting itself and can tell a slow Redis from a busy process, so it
    # has a client of its own with a longer time-out.
    counters = redis.connect(
        settings.redis_url.get_secret_value(), timeout_s=LIMITER_TIMEOUT_S, max_connections=4
    )
    close_at_exit(stack, "redis", counters.aclose)
    limits = Limits(
        counters,
        {
            "user": settings.rate_limit_user,
            "address": settings.rate_limit_address,
            "sign_in": settings.rate_limit_sign_in,
        },
    )
    upstreams: dict[str, UpstreamClient] = {}
    asked = {"redis": checks.redis(cache, required=False)}
    for name, url in zip(UPSTREAMS, (settings.auth_url, settings.event_url), strict=True):
        transport = observe_httpx(UpstreamTransport(url), name)
        close_at_exit(stack, name, transport.aclose)
        upstreams[name] = UpstreamClient(
            name,
            url,
            transport,
            UpstreamSignals(),
            places=Places(
                settings.upstream_max_in_flight, settings.upstream_max_in_flight_per_client
            ),
            deadlines=Deadlines(
                settings.upstream_connect_seconds,
                settings.upstream_deadline_seconds,
                settings.upstream_idle_seconds,
            ),
            breaker_open_s=settings.breaker_open_seconds,
        )
        # Liveness, not readiness: what an upstream depends on is reported by the upstream itself.
        alive = f"{url.rstrip('/')}/health/live"
        asked[name] = checks.http(probes, alive, required=False)
    verifier = TokenVerifier(
        RemoteJwks(probes, settings.keys_url), settings.token_issuer, settings.token_audience
    )
    active = ActiveUsers(cache, settings.business_timezone)
    close_at_exit(stack, "active users", active.flush)  # users noted since the last turn
    repeat(stack, "active_users", active.flush, pause_s=FLUSH_S)
    return Deps(
        limits,
        verifier,
        active,
        upstreams,
        settings.trusted_proxies,
        asked,
        settings.client_ipv6_prefix,
    )
