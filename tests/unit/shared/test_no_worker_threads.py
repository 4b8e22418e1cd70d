"""No request of a service is handed to a worker thread: FastAPI does that to plain functions."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant

from auth.main import create_app as create_auth
from event.main import create_app as create_event
from event.settings import Settings as EventSettings
from gateway.main import create_app as create_gateway
from tests.support.auth_app import auth_settings
from tests.support.gateway_app import gateway_settings

APPS: dict[str, Callable[[], FastAPI]] = {
    "gateway": lambda: create_gateway(gateway_settings()),
    "auth": lambda: create_auth(auth_settings()),
    "event": lambda: create_event(
        EventSettings(user_hash_key="k" * 32, redis_url="redis://x", mongo_url="mongodb://x")
    ),
}


def callables(routes: list[Any]) -> Iterator[Callable[..., Any]]:
    """Endpoints and all that they depend on, through included routers and mounted apps."""
    for route in routes:
        inner = getattr(route, "original_router", route)
        yield from callables(getattr(inner, "routes", None) or [])
        if getattr(route, "endpoint", None) is not None:
            yield route.endpoint
        if getattr(route, "dependant", None) is not None:
            yield from dependencies(route.dependant)


def dependencies(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    for each in dependant.dependencies:
        if each.call is not None:
            yield each.call
        yield from dependencies(each)


def is_plain(call: Callable[..., Any]) -> bool:
    forms = (call, type(call).__call__)  # a function, or an object that is called
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    return not any(kind(form) for kind in kinds for form in forms)


@pytest.mark.parametrize("name", APPS)
def test_no_endpoint_or_dependency_is_a_plain_function(name):
    found = list(callables(APPS[name]().routes))
    assert len(found) >= 10
    assert [call for call in found if is_plain(call)] == []


def test_a_plain_one_is_found_wherever_it_is():
    def plain() -> None: ...
    def deep(_: None = Depends(plain)) -> None: ...
    async def fine(_: None = Depends(deep)) -> None: ...

    router, app = APIRouter(), FastAPI(openapi_url=None)
    router.get("/x", dependencies=[Depends(fine)])(fine)
    app.include_router(router, prefix="/deep")
    assert {call for call in callables(app.routes) if is_plain(call)} == {plain, deep}
