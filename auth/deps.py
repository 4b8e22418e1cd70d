"""The objects that the service works with, connected; tests pass in their own."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from auth import signals
from auth.active_days import ActiveDays
from auth.announcements import Relay
from auth.limiter import SignInLimiter
from auth.passwords import Passwords
from auth.repository import Families, Users
from auth.service import Accounts
from auth.sessions import Sessions
from auth.settings import Settings
from plainview import Check, checks
from shared.background import close_at_exit, repeat
from shared.setting_types import Networks
from shared.storage import mongo, redis
from shared.storage.fallback import CLIENT_TIMEOUT_S
from shared.token_keys import StaticKeys, split_pem
from shared.tokens import TokenIssuer, TokenVerifier

COUNT_S = 15.0  # between two counts of users


@dataclass(frozen=True)
class Deps:
    """`checks` by name of dependency."""

    accounts: Accounts
    verifier: TokenVerifier
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


def connect(settings: Settings, stack: AsyncExitStack) -> Deps:
    """Connect and start the jobs; `stack` ends all. Does not wait for servers that are away."""
    client = mongo.connect(settings.mongo_url.get_secret_value(), settings.mongo_driver, "auth")
    close_at_exit(stack, "mongo", client.close)
    cache = redis.connect(settings.redis_url.get_secret_value())
    close_at_exit(stack, "redis", cache.aclose)
    counters = redis.connect(settings.redis_url.get_secret_value(), timeout_s=CLIENT_TIMEOUT_S)
    close_at_exit(stack, "redis", counters.aclose)

    database, zone = client.database(settings.mongo_database), settings.business_timezone
    users, families = Users(database), Families(database)
    passwords = Passwords(settings.auth_password_threads, settings.auth_password_wait_seconds)
    stack.callback(passwords.close)
    relay = Relay(users, cache)
    limiter = SignInLimiter(
        counters,
        settings.auth_account_limit,
        settings.auth_address_limit,
        ipv6_prefix=settings.client_ipv6_prefix,
    )
    sessions = Sessions(users, families, issuer(settings), settings.auth_family_days)
    accounts = Accounts(users, sessions, passwords, limiter, relay.wake)

    async def population() -> None:
        await users.indexes.make()
        await families.indexes.make()
        signals.population(await users.count(), await users.sign_ups(zone))

    async def ready() -> None:
        await client.ping()
        users.indexes.check()
        families.indexes.check()

    repeat(stack, "relay", relay.turn)
    repeat(stack, "active_days", ActiveDays(database, cache, zone).turn, pause_s=COUNT_S)
    repeat(stack, "population", population, pause_s=COUNT_S)
    asked = {"mongo": Check(ready), "redis": checks.redis(cache, required=False)}
    return Deps(accounts, verifier(settings), settings.trusted_proxies, asked)
