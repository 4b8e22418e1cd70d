"""Every error is a problem document that tells nothing it should not."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, EmailStr

from shared import errors
from shared.storage.mongo_calls import DatabaseTimeout, DatabaseUnavailable
from shared.storage.redis import RedisTimeoutError
from shared.web.body_limit import MAX_DEPTH, MAX_MEMBERS, BodyLimit, BoundedRoute
from shared.web.problems import MAX_ERRORS, install_error_handlers

RAISED: dict[str, tuple[Exception, int, str]] = {
    "bad": (errors.BadRequest("x", code="missing_idempotency_key"), 400, "missing_idempotency_key"),
    "who": (errors.Unauthenticated(code="invalid_token"), 401, "invalid_token"),
    "no": (errors.Forbidden(), 403, "forbidden"),
    "none": (errors.NotFound(), 404, "not_found"),
    "conflict": (errors.Conflict(code="in_flight", retry_after=3), 409, "in_flight"),
    "invalid": (errors.Invalid(), 422, "invalid_request"),
    "many": (errors.TooMany(retry_after=7), 429, "rate_limited"),
    "away": (DatabaseUnavailable(), 503, "database_unavailable"),
    "cache": (RedisTimeoutError("redis://:hunter2@host"), 503, "cache_unavailable"),
    "late": (DatabaseTimeout(), 504, "database_timeout"),
    "bug": (RuntimeError("hunter2 at db.internal"), 500, "internal_error"),
    "unmapped": (errors.DomainError("hunter2"), 500, "internal_error"),
}


class Account(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    email: EmailStr
    password: str
    weight: float = 0
    tags: list[int] = []


@pytest.fixture
async def client():
    app = FastAPI()
    app.router.route_class = BoundedRoute
    install_error_handlers(app)
    app.add_middleware(BodyLimit)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise RAISED[name][0]

    @app.post("/accounts", max_body_size=1024 * 1024)
    async def make(account: Account) -> dict[str, Any]:
        return {"stored": len(account.password.encode())}

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http


@pytest.mark.parametrize("name", RAISED)
async def test_kind_decides_status(client, name):
    error, status, code = RAISED[name]
    response = await client.get(f"/raise/{name}")
    document = response.json()
    assert response.status_code == document["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert document["code"] == code
    assert {"type", "title", "detail", "request_id", "trace_id"} <= set(document)
    assert "hunter2" not in response.text
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert ("retry-after" in response.headers) == (
        status in (429, 503) or getattr(error, "retry_after", None) is not None
    )


async def test_extra_members_and_retry_after(client):
    RAISED["extra"] = (errors.Conflict("d", stock_left=0, status=200), 409, "conflict")
    document = (await client.get("/raise/extra")).json()
    assert (document["stock_left"], document["status"], document["detail"]) == (0, 409, "d")
    assert (await client.get("/raise/many")).headers["retry-after"] == "7"


async def test_unknown_route_and_method(client):
    missing = await client.get("/nowhere")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    wrong = await client.put("/accounts")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


async def test_validation_tells_where_but_not_what(client):
    body = {"email": "hunter2", "password": ["hunter2"], "4111111111111111": "hunter2"}
    response = await client.post("/accounts", json=body)
    document = response.json()
    assert (response.status_code, document["code"]) == (422, "invalid_request")
    assert ["body", "password"] in [item["loc"] for item in document["errors"]]
    assert set(document["errors"][0]) == {"loc", "msg"}
    assert "hunter2" not in response.text
    assert "4111111111111111" not in response.text


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("body", "checked"),
    [
        ({"tags": ["x"] * MAX_MEMBERS}, True),
        ({"tags": ["x"] * (MAX_MEMBERS + 1)}, False),
        ({f"k{number}": 0 for number in range(MAX_MEMBERS)}, True),
        ({f"k{number}": 0 for number in range(MAX_MEMBERS + 1)}, False),
        ({"tags": [[1] * 12] * 6}, False),
        (_nested(MAX_DEPTH), True),
        (_nested(MAX_DEPTH + 1), False),
        (_nested(500), False),
        ("x" * 100_000, True),
    ],
)
async def test_a_body_of_many_parts_is_refused_before_it_is_validated(client, body, checked):
    response = await client.post("/accounts", json=body)
    document = response.json()
    assert (response.status_code, document["code"]) == (422, "invalid_request")
    assert ("error_count" in document) == checked, document
    assert len(document.get("errors", [])) <= MAX_ERRORS
    assert len(response.content) < 4_000


START = b'{"email":"a@b.example","password":'


@pytest.mark.parametrize(
    "body",
    [
        *(b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000),
        *(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, START + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        *(START + b'"x","weight":NaN}', START + b'"x","weight":-Infinity}'),
        *(START + b'"\\ud800"}', START + b'"x","tags":[' + b"9" * 5000 + b"]}"),
        *(b"\x00", b'{"email":"a@b.example","pass\x00word":"x"}', b"\xff\xfe", b"{", b"", b"null"),
    ],
)
async def test_malformed_json_is_the_clients_fault(client, body):
    response = await client.post(
        "/accounts", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code in (400, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"
