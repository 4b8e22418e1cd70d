"""An index that MongoDB does not want to make: not ready, the reason is told, nothing is stored."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from pymongo.errors import OperationFailure

from auth.main import create_app as create_auth
from event.main import create_app as create_event
from event.settings import Settings as EventSettings
from plainview.health import reason_of
from plainview.testing import captured_logs
from shared.storage.mongo import Collection, IndexMissing
from tests.support.auth_app import auth_settings
from tests.support.waiting import soon

PERSON = {"email": "a@example.com", "password": "a staple that is correct", "display_name": "A"}
CONFLICT, UNAUTHORIZED = 85, 13


def auth(**more: Any) -> FastAPI:
    return create_auth(auth_settings(**more))


def event(**more: Any) -> FastAPI:
    return create_event(EventSettings(user_hash_key="k" * 32, **more))


@pytest.fixture
async def servers(mongo_url: str, redis_url: str) -> AsyncIterator[dict[str, str]]:
    database = f"indexes_{uuid4().hex[:12]}"
    return {"mongo_url": mongo_url, "redis_url": redis_url, "mongo_database": database}


@pytest.mark.parametrize("make", [auth, event])
@pytest.mark.parametrize("code", [CONFLICT, UNAUTHORIZED])
async def test_not_ready_until_the_index_is_there(
    servers: dict[str, str],
    make: Callable[..., FastAPI],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(self: Collection, keys: Any, **options: Any) -> str:
        raise OperationFailure("An equivalent index has other options", code)

    monkeypatch.setattr(Collection, "create_index", refuse)
    app = make(**servers)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with captured_logs() as lines:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):

            async def ready(status: int, text: str = "") -> httpx.Response | None:
                reply = await client.get("/health/ready")
                return reply if reply.status_code == status and text in reply.text else None

            await soon(lambda: any(line["event"] == "index.failed" for line in lines))
            with pytest.raises(IndexMissing) as raised:
                await app.state.deps.checks["mongo"].ping()
            assert reason_of(raised.value) == "index"
            told = await soon(lambda: ready(503, "index"))
            assert "other options" not in told.text  # the exception's text is for the log alone
            if make is auth:
                reply = await client.post("/api/v1/auth/register", json=PERSON)
                assert (reply.status_code, reply.json()["code"]) == (503, "index_missing")
            monkeypatch.undo()
            await soon(lambda: ready(200))
            if make is auth:
                assert (await client.post("/api/v1/auth/register", json=PERSON)).status_code == 201
    (line,) = [line for line in lines if line["event"] == "index.failed"]
    assert line["level"] == "error"
    assert "other options" in line["exception_message"]
