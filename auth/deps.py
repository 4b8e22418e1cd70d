"""The objects that auth's requests use, and the connections behind them."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from auth.active_days import ActiveDays
from auth.announcements import Relay
from auth.jobs import INTERVAL_S, count_users
from auth.limiter import SignInLimiter
from auth.passwords import Passwords
from auth.repository import Families, Users
from auth.service import Accounts
from auth.settings import Settings
from plainview import Check, checks
from shared.background import close_at_exit, repeat
from shared.setting_types import Networks
from shared.storage import mongo, redis
from shared.token_keys import StaticKeys, split_pem
from shared.tokens import TokenIssuer, TokenVerifier

LIMITER_TIMEOUT_S = 2.0  # longer than auth.limiter.BUDGET_S


@dataclass(frozen=True)
class Deps:
    """Everything that requests need; tests pass in fakes."""

    accounts: Accounts
    trusted_proxies: Networks = ()
    checks: Mapping[str, Check] = field(default_factory=dict)


def issuer(settings: Settings) -> TokenIssuer:
    """The signer of access tokens."""
    return TokenIssuer(
        settings.auth_signing_key.get_secret_value(),
        settings.token_issuer,
        settings.token_audience,
        split_pem(settings.auth_previous_keys),
    )


def verifier(settings: Settings) -> TokenVerifier:
    """The verifier of access tokens, with auth's own public keys instead of fetched ones."""
    keys = StaticKeys(issuer(settings).jwks())
    return TokenVerifier(keys, settings.token_issuer, settings.token_audience)


async def connect(settings: Settings, stack: AsyncExitStack) -> Deps:
    """Connect to MongoDB and Redis and start the jobs; `stack` closes everything.

    Does not wait for servers that are away.
    """
    client = mongo.connect(settings.mongo_url.get_secret_value(), settings.mongo_driver, "auth")
    close_at_exit(stack, "mongo", client.close)
    cache = redis.connect(settings.redis_url.get_secret_value())
    close_at_exit(stack, "redis", cache.aclose)
    database = client.database(settings.mongo_database)
    users, families = Users(database), Families(database)
    passwords = Passwords(settings.auth_password_threads, settings.auth_password_wait_seconds)
    stack.callback(passwords.close)
    relay = Relay(users, cache)
    # Bounds its waiting itself; its client's own time-outs are longer, so a late answer is read.
    counters = redis.connect(settings.redis_url.get_secret_value(), timeout_s=LIMITER_TIMEOUT_S)
    close_at_exit(stack, "redis", counters.aclose)
    limiter = SignInLimiter(
        counters,
        settings.auth_account_limit,
        settings.auth_address_limit,
        ipv6_prefix=settings.client_ipv6_prefix,
    )
    accounts = Accounts(
        users, families, passwords, limiter, issuer(settings), relay.wake, settings.auth_family_days
    )

    async def population() -> None:
        await users.indexes.make()
        await families.indexes.make()
        await count_users(users, settings.business_timezone)

    async def ready() -> None:
        await client.ping()
        users.indexes.check()
        families.indexes.check()

    repeat(stack, "relay", relay.turn)
    active_days = ActiveDays(database, cache, settings.business_timezone)
    repeat(stack, "active_days", active_days.turn, pause_s=INTERVAL_S)
    repeat(stack, "population", population, pause_s=INTERVAL_S)
    asked = {"mongo": Check(ready), "redis": checks.redis(cache, required=False)}
    return Deps(accounts, settings.trusted_proxies, asked)
