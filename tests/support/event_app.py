"""The event service over a database in memory, with real tokens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from event.claims import Claims
from event.deps import Deps
from event.main import create_app
from event.service import Service
from event.settings import Settings
from event.store import Store
from ops.secrets import new_signing_key
from shared.token_keys import StaticKeys
from shared.tokens import Role, TokenIssuer, TokenVerifier
from tests.support.fake_mongo import FakeDatabase


@dataclass
class EventApp:
    """`as_("u", Role.USER)` is a client with that user's token."""

    app: FastAPI
    database: Any
    issuer: TokenIssuer

    def as_(self, user_id: str, *roles: Role) -> httpx.AsyncClient:
        token, _ = self.issuer.access(user_id, roles)
        return self.client({"Authorization": f"Bearer {token}"})

    def client(self, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(
            transport=transport, base_url="http://event/api/v1", headers=headers
        )


@asynccontextmanager
async def event_app(database: Any = None) -> AsyncIterator[EventApp]:
    settings = Settings(
        user_hash_key="k" * 32, redis_url="redis://nowhere", mongo_url="mongodb://nowhere"
    )
    database = database or FakeDatabase()
    store = Store(database)
    await store.indexes.make()
    issuer = TokenIssuer(new_signing_key(), settings.token_issuer, settings.token_audience)
    keys = StaticKeys(issuer.jwks())
    deps = Deps(
        Claims(store, settings.business_timezone, settings.claim_stale_seconds),
        Service(store),
        TokenVerifier(keys, settings.token_issuer, settings.token_audience),
    )
    app = create_app(settings, deps)
    async with app.router.lifespan_context(app):
        yield EventApp(app, database, issuer)
