"""The auth service over memory, with everything else real."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import httpx
from fastapi import FastAPI

from auth.deps import Deps, issuer, verifier
from auth.limiter import SignInLimiter
from auth.main import create_app
from auth.passwords import Passwords
from auth.records import Family, User
from auth.repository import EmailTaken, Families, Users
from auth.service import Accounts
from auth.sessions import Sessions
from auth.settings import Settings
from ops.secrets import new_signing_key
from shared.tokens import Role, TokenIssuer

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


class MemoryUsers(Users):
    """Users by ID, with what they have announced."""

    def __init__(self) -> None:
        self.by_id: dict[str, User] = {}
        self.announced: dict[str, dict[str, Mapping[str, str]]] = {}
        self.lock = asyncio.Lock()

    async def create(self, user: User, announcement: Mapping[str, str]) -> None:
        if await self.by_email(user.email):
            raise EmailTaken("taken")
        self.by_id[user.id] = user
        self.announced[user.id] = {announcement["id"]: announcement}

    async def by_email(self, email: str) -> User | None:
        return next((user for user in self.by_id.values() if user.email == email), None)

    async def get(self, user_id: str) -> User | None:
        return self.by_id.get(user_id)

    async def sign_in(
        self,
        user: User,
        announcement: Mapping[str, str],
        known: Mapping[str, float],
        new_hash: str | None = None,
    ) -> list[str] | None:
        now = self.by_id[user.id]
        if now.epoch != user.epoch:
            return None
        new = new_hash or now.password_hash
        self.by_id[user.id] = replace(now, password_hash=new, known=known)
        self.announced[user.id][announcement["id"]] = announcement
        return sorted(self.announced[user.id])

    async def set_password(self, user: User, password_hash: str) -> bool:
        known = self.by_id[user.id]
        if known.epoch != user.epoch:
            return False
        self.by_id[user.id] = replace(known, password_hash=password_hash, epoch=known.epoch + 1)
        return True

    async def disable(self, user_id: str) -> None:
        known = self.by_id[user_id]
        self.by_id[user_id] = replace(known, disabled=True, epoch=known.epoch + 1)

    async def set_roles(self, user_id: str, roles: Sequence[Role]) -> User | None:
        if user_id not in self.by_id:
            return None
        self.by_id[user_id] = replace(self.by_id[user_id], roles=tuple(roles))
        return self.by_id[user_id]

    async def has_other_administrator(self, user_id: str) -> bool:
        others = (user for user in self.by_id.values() if user.id != user_id)
        return any(Role.ADMIN in user.roles and not user.disabled for user in others)

    @asynccontextmanager
    async def administration(self) -> AsyncIterator[None]:
        async with self.lock:
            yield

    async def remove_announcements(
        self, user_id: str, ids: Sequence[str], mark: str | None = None
    ) -> None:
        for key in ids:
            self.announced[user_id].pop(key)

    async def count(self) -> int:
        return len(self.by_id)

    async def count_created(self, since: datetime, until: datetime) -> int:
        return sum(since <= user.created_at < until for user in self.by_id.values())


class MemoryFamilies(Families):
    """Families by ID; every call gives others a turn, as a database does."""

    def __init__(self) -> None:
        self.by_id: dict[str, Family] = {}

    async def create(self, family: Family) -> None:
        self.by_id[family.id] = family

    async def get(self, family_id: str) -> Family | None:
        await asyncio.sleep(0)
        return self.by_id.get(family_id)

    async def rotate(self, family: Family, successor: str, recent: Mapping[str, float]) -> bool:
        await asyncio.sleep(0)
        known = self.by_id.get(family.id)
        if known is None or known.current != family.current:
            return False
        self.by_id[family.id] = replace(known, current=successor, recent=recent)
        return True

    async def delete(self, family_id: str) -> None:
        self.by_id.pop(family_id, None)

    async def delete_of(self, user_id: str) -> None:
        self.by_id = {key: kept for key, kept in self.by_id.items() if kept.user_id != user_id}


@dataclass
class AuthApp:
    """`post("login", email=..., password=...)` calls the API; fakes are open to look into."""

    app: FastAPI
    settings: Settings
    accounts: Accounts
    users: MemoryUsers
    families: MemoryFamilies
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
    users, families = MemoryUsers(), MemoryFamilies()
    # the cheapest hash there is: what it costs is tested elsewhere
    quick = passwords or Passwords(memory_kib=8, time_cost=1)
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
        yield AuthApp(app, settings, accounts, users, families, signer, client)
    quick.close()
