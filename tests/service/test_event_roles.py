"""Each role on each route gets what the `x-roles` of the OpenAPI document say."""

from typing import Any

import pytest

from event import routes
from event.ids import new_id
from shared.tokens import Role
from tests.support.event_app import EventApp
from tests.support.event_data import new_event

READERS, EDITORS = {"USER", "OPERATOR", "AUDITOR", "ADMIN"}, {"OPERATOR", "ADMIN"}
EXPECTED = {
    ("post", "/events"): EDITORS,
    ("get", "/events"): READERS,
    ("get", "/events/{id}"): READERS,
    ("patch", "/events/{id}"): EDITORS,
    ("post", "/events/{id}/participations"): {"USER"},
    ("get", "/events/{id}/participations"): READERS - {"USER"},
    ("post", "/events/{id}/rewards"): EDITORS,
    ("get", "/events/{id}/rewards"): READERS,
    ("get", "/rewards/{id}"): READERS,
    ("patch", "/rewards/{id}"): EDITORS,
    ("post", "/rewards/{id}/requests"): {"USER"},
    ("get", "/reward-requests"): READERS,
    ("get", "/reward-requests/{id}"): READERS,
    ("patch", "/reward-requests/{id}"): EDITORS,
}
BODIES: dict[tuple[str, str], Any] = {
    ("patch", "/events/{id}"): {},
    ("patch", "/rewards/{id}"): {"stock": 1},
    ("patch", "/reward-requests/{id}"): {"status": "approved"},
    ("post", "/events/{id}/rewards"): {"name": "a", "kind": "points", "stock": 1},
    ("post", "/events"): new_event(),
}


def operations(service: EventApp) -> dict[tuple[str, str], set[str]]:
    document = service.app.openapi()
    return {
        (method, path.removeprefix("/api/v1")): set(operation["x-roles"])
        for path, methods in document["paths"].items()
        if path.startswith("/api/v1")
        for method, operation in methods.items()
    }


async def test_the_document_names_the_roles_of_every_route(service):
    assert operations(service) == EXPECTED
    assert len(EXPECTED) == len(routes.router.routes)


@pytest.mark.parametrize("role", [*Role, None])
async def test_each_role_gets_what_the_document_says(service, role):
    headers = {"Idempotency-Key": "a-key"}
    client = service.as_("u", role) if role else service.client()
    for (method, path), allowed in operations(service).items():
        url = path.replace("{id}", new_id())
        body = BODIES.get((method, path))
        reply = await client.request(method, url, json=body, headers=headers)
        if role is None:
            assert reply.status_code == 401, (method, path)
            assert reply.headers["www-authenticate"].startswith("Bearer")
        elif role not in allowed:
            assert reply.status_code == 403, (method, path)
            assert reply.json()["code"] == "forbidden"
        else:
            assert reply.status_code in (200, 201, 404), (method, path, reply.text)
