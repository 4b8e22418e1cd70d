"""The auth service over a database in memory, with everything else real."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import httpx
from fastapi import FastAPI

from auth.deps import Deps, issuer, verifier
from auth.limiter import SignInLimiter
from auth.main import create_app
from auth.passwords import Passwords
from auth.repository import Families, Users
from auth.service import Accounts
from auth.sessions import Sessions
from auth.settings import Settings
from ops.secrets import new_signing_key
from shared.password_hash import Hasher
from shared.tokens import Role, TokenIssuer
from tests.support.fake_mongo import FakeDatabase, Wrapped

PASSWORD = "a staple that is correct"


def auth_settings(**more: Any) -> Settings:
    values = {
        "user_hash_key": "k" * 32,
        "redis_url": "redis://nowhere",
        "mongo_url": "mongodb://nowhere",
        "auth_signing_key": new_signing_key(),
        "log_format": "json",
    }
    return Settings(**{**values, **more})


async def _in_turns(_method: str, call: Callable[[], Awaitable[Any]]) -> Any:
    """Every call gives others a turn, as a database does."""
    await asyncio.sleep(0)
    return await call()


@dataclass
class AuthApp:
    """`post("login", email=..., password=...)` calls the API."""

    app: FastAPI
    settings: Settings
    accounts: Accounts
    users: Users
    stored: dict[str, Any]  # documents of users by ID
    families: dict[str, Any]
    issuer: TokenIssuer
    client: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.client.post(f"/api/v1/auth/{path}", json=body, headers=self.headers)

    async def registered(self, email: str = "ann@example.com", **more: Any) -> str:
        """The ID of a new user."""
        body = {"email": email, "password": PASSWORD, "display_name": "Ann", **more}
        reply = await self.post("register", **body)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["id"])

    async def signed_in(self, email: str = "ann@example.com") -> dict[str, Any]:
        reply = await self.post("login", email=email, password=PASSWORD)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    async def administrator(self, email: str = "admin@example.com") -> tuple[str, dict[str, str]]:
        """The ID and headers of a new administrator."""
        admin = await self.accounts.register(email, PASSWORD, "Admin", (Role.ADMIN, Role.USER))
        return admin.id, self.bearer(admin.id, Role.ADMIN, Role.USER)

    def bearer(self, user_id: str, *roles: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.issuer.access(user_id, roles)[0]}"}


@asynccontextmanager
async def auth_app(passwords: Passwords | None = None, **more: Any) -> AsyncIterator[AuthApp]:
    settings = auth_settings(**more)
    memory = FakeDatabase()
    database: Any = Wrapped(memory, _in_turns)
    users, families = Users(database), Families(database)
    # the cheapest hash there is: what it costs is tested elsewhere
    quick = passwords or Passwords(hasher=Hasher(memory_kib=8, time_cost=1))
    limiter = SignInLimiter(None, settings.auth_account_limit, settings.auth_address_limit)
    signer = issuer(settings)
    accounts = Accounts(users, Sessions(users, families, signer), quick, limiter)
    deps = Deps(accounts, verifier(settings), (ip_network("127.0.0.0/8"),))
    app = create_app(settings, deps)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://auth") as client,
    ):
        stored, sessions = (memory[name].documents for name in ("users", "refresh_families"))
        yield AuthApp(app, settings, accounts, users, stored, sessions, signer, client)
    quick.close()
