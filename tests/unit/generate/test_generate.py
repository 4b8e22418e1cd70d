"""The merged OpenAPI document is complete and refuses what would be ambiguous."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from generate import __main__ as generate
from shared.tokens import Role
from shared.web.security import PUBLIC, Require, ServiceRoute


def app(*paths: str, public: bool | None = True) -> FastAPI:
    """Routes for anybody; for some roles if `public` is False; if it is None they say nothing."""
    made = FastAPI()
    made.router.route_class = ServiceRoute
    for path in paths:
        needed = [Depends(Require(Role.ADMIN, Role.USER))] if public is False else []
        made.get(path, dependencies=needed, openapi_extra=PUBLIC if public else None)(_nothing)
    return made


async def _nothing() -> None: ...


@pytest.fixture
def merge(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    def run(**apps: FastAPI) -> dict[str, Any]:
        monkeypatch.setattr(generate, "_apps", lambda: apps)
        return generate.merged_openapi()

    return run


def test_every_operation_names_upstream_and_known_roles() -> None:
    document = generate.merged_openapi()
    operations = [
        (path, operation) for path, item in document["paths"].items() for operation in item.values()
    ]
    assert len(operations) > 15
    for path, operation in operations:
        assert path.startswith("/api/v1/")
        assert operation["x-upstream"] in ("auth", "event")
        assert {Role(role) for role in operation["x-roles"]} <= set(Role)
    public = sorted(path for path, operation in operations if not operation["x-roles"])
    # whoever adds to this list has thought about it
    assert public == [f"/api/v1/auth/{name}" for name in ("login", "logout", "refresh", "register")]


def test_what_is_not_api_stays_inside(merge: Callable[..., dict[str, Any]]) -> None:
    merged = merge(auth=app("/api/v1/a", "/metrics-like", "/internal/x"), event=app("/api/v1/b"))
    assert sorted(merged["paths"]) == ["/api/v1/a", "/api/v1/b"]
    assert merged["paths"]["/api/v1/a"]["get"]["x-upstream"] == "auth"


def test_an_operation_names_the_roles_that_its_route_requires(
    merge: Callable[..., dict[str, Any]],
) -> None:
    merged = merge(auth=app("/api/v1/a", public=False), event=app("/api/v1/b"))
    roles = {path: item["get"]["x-roles"] for path, item in merged["paths"].items()}
    assert roles == {"/api/v1/a": ["ADMIN", "USER"], "/api/v1/b": []}


def meaning(path: str, kind: str) -> FastAPI:
    """A service whose schema `Thing` is of this type."""
    made = app(path)
    made.openapi()["components"] = {"schemas": {"Thing": {"type": kind}}}
    return made


@pytest.mark.parametrize(
    ("auth", "event", "words"),
    [
        (app("/api/v1/a", public=None), app(), "GET /api/v1/a names no x-roles"),
        (app("/api/v1/a"), app("/api/v1/a"), "/api/v1/a is served twice"),
        (meaning("/api/v1/a", "string"), meaning("/api/v1/b", "integer"), "schemas/Thing"),
    ],
    ids=["no roles", "a path of two", "a name with two meanings"],
)
def test_what_is_ambiguous_is_refused(
    merge: Callable[..., dict[str, Any]], auth: FastAPI, event: FastAPI, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        merge(auth=auth, event=event)


def test_check_names_what_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = {generate.OPENAPI: (generate.ROOT / generate.OPENAPI).read_text()}
    monkeypatch.setattr(generate, "generated", lambda: fresh)
    assert generate.main(check=True) == 0
    stale = {generate.OPENAPI: "other"}
    monkeypatch.setattr(generate, "generated", lambda: stale)
    assert generate.main(check=True) == 1
    assert "differs: gateway/openapi.json" in capsys.readouterr().out
    assert (generate.ROOT / generate.OPENAPI).read_text() != "other"
