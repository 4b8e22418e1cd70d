"""Each role on each operation of auth and event gets what the OpenAPI document says.

The gateway's side is in test_gateway_headers.py, all of it together in tests/faults/test_doors.py.
"""

from typing import Any

import pytest

from gateway.operations import load_document
from shared.tokens import Role
from tests.support.event_data import new_event

#: who may (nobody named: anybody), and which operations
EXPECTED = {
    "": [*(f"post /auth/{what}" for what in ("register", "login", "refresh", "logout"))],
    "ADMIN": ["put /auth/users/{id}/roles"],
    "USER": ["post /events/{id}/participations", "post /rewards/{id}/requests"],
    "OPERATOR ADMIN": [
        *("post /events", "patch /events/{id}", "post /events/{id}/rewards"),
        *("patch /rewards/{id}", "patch /reward-requests/{id}"),
    ],
    "OPERATOR AUDITOR ADMIN": ["get /events/{id}/participations"],
    "USER OPERATOR AUDITOR ADMIN": [
        *("get /auth/me", "post /auth/password", "get /events", "get /events/{id}"),
        *("get /events/{id}/rewards", "get /rewards/{id}"),
        *("get /reward-requests", "get /reward-requests/{id}"),
    ],
}
BODIES: dict[str, Any] = {
    "patch /events/{id}": {},
    "patch /rewards/{id}": {"stock": 1},
    "patch /reward-requests/{id}": {"status": "approved"},
    "post /events/{id}/rewards": {"name": "a", "kind": "points", "stock": 1},
    "post /events": new_event(),
}


def test_the_document_names_the_roles_of_every_operation():
    named = {
        f"{method} {path.removeprefix('/api/v1')}": {*operation["x-roles"]}
        for path, methods in load_document()["paths"].items()
        for method, operation in methods.items()
    }
    assert named == {name: {*roles.split()} for roles, names in EXPECTED.items() for name in names}


@pytest.mark.parametrize("role", [*Role, None])
async def test_each_role_gets_what_the_document_says(auth, service, role):
    user_id = await auth.registered()
    as_role = service.as_("u", role) if role else service.client()
    for roles, names in EXPECTED.items():
        for name in names:
            method, path = name.split()
            if path.startswith("/auth"):  # no body: whoever is let in gets as far as that
                url, good = f"/api/v1{path.replace('{id}', user_id)}", (200, 422)
                bearer = auth.bearer(user_id, role) if role else {}
                reply = await auth.client.request(method, url, headers=bearer)
            else:
                url, good = path.replace("{id}", "0" * 24), (200, 201, 404)
                headers, body = {"Idempotency-Key": "a-key"}, BODIES.get(name)
                reply = await as_role.request(method, url, json=body, headers=headers)
            if not roles or (role and role in roles.split()):
                assert reply.status_code in good, (name, reply.text)
            elif role:
                assert (reply.status_code, reply.json()["code"]) == (403, "forbidden"), name
            else:
                assert reply.status_code == 401, name
                assert reply.headers["www-authenticate"].startswith("Bearer")
