"""The objects that the gateway works with, connected; tests pass in their own."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from gateway.active_users import ActiveUsers
from gateway.client import Places, UpstreamClient
from gateway.limits import Limits
from gateway.settings import Settings
from gateway.signals import Upstream
from plainview import Check, checks, observe_httpx
from plainview.client_address import Networks
from shared.background import close_at_exit, repeat
from shared.storage import redis
from shared.storage.fallback import CLIENT_TIMEOUT_S
from shared.token_keys import RemoteJwks
from shared.tokens import TokenVerifier
from shared.web.transport import UpstreamTransport

FLUSH_S = 5.0


@dataclass(frozen=True)
class Deps:
    """`upstreams` by name, `checks` by name of dependency."""

    limits: Limits
    verifier: TokenVerifier
    active_users: ActiveUsers
    upstreams: Mapping[Upstream, UpstreamClient]
    trusted_proxies: Networks
    checks: Mapping[str, Check]
    ipv6_prefix: int


def connect(settings: Settings, stack: AsyncExitStack) -> Deps:
    """Connect and start the jobs; `stack` ends all. Does not wait for servers that are away."""
    cache = redis.connect(settings.redis_url.get_secret_value())
    close_at_exit(stack, "redis", cache.aclose)
    probes = httpx.AsyncClient(timeout=1, trust_env=False)
    close_at_exit(stack, "probes", probes.aclose)
    counters = redis.connect(
        settings.redis_url.get_secret_value(), timeout_s=CLIENT_TIMEOUT_S, max_connections=4
    )
    close_at_exit(stack, "redis", counters.aclose)
    limits = Limits(counters, settings.rate_limits)
    upstreams: dict[Upstream, UpstreamClient] = {}
    asked = {"redis": checks.redis(cache, required=False)}
    for name, url in settings.upstreams.items():
        transport = observe_httpx(UpstreamTransport(url), name)
        close_at_exit(stack, name, transport.aclose)
        upstreams[name] = UpstreamClient(
            name,
            url,
            transport,
            places=Places(
                settings.upstream_max_in_flight, settings.upstream_max_in_flight_per_client
            ),
            connect_s=settings.upstream_connect_seconds,
            reply_s=settings.upstream_deadline_seconds,
            idle_s=settings.upstream_idle_seconds,
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
