"""Every operation of the merged OpenAPI document, its bodies, and the strings in them."""

import json
from collections.abc import Iterator
from typing import Any

from gateway.operations import Operation, load_document, operations
from tests.support.trio import Service, Trio

PASSWORD = "a staple that is correct"
DOCUMENT = load_document()
OPERATIONS = list(
    dict.fromkeys(one for methods in operations(DOCUMENT).values() for one in methods.values())
)
WITH_BODY = [one for one in OPERATIONS if one.method in ("POST", "PUT", "PATCH")]


def strings(schema: Any, document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of the strings that a body of this schema has."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from strings(option, document, path)
    if schema.get("type") == "string" or "enum" in schema or "const" in schema:
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from strings(inner, document, (*path, name))
    if "items" in schema:
        yield from strings(schema["items"], document, (*path, 0))


GOOD: dict[str, Any] = {
    "register": {"email": "new@example.com", "password": PASSWORD, "display_name": "Ann"},
    "login": {"email": "op@example.com", "password": PASSWORD},
    "refresh": {"refresh_token": "a" * 40},
    "logout": {"refresh_token": "a" * 40},
    "password": {"current_password": PASSWORD, "new_password": PASSWORD + "!"},
    "roles": {"roles": ["USER"]},
    "events": {"title": "a", "description": "b", "starts_at": "2026-01-01T00:00:00Z",
               "ends_at": "2026-02-01T00:00:00Z", "status": "active",
               "conditions": [{"type": "login_streak", "days": 3}]},
    "rewards": {"name": "a", "kind": "points", "stock": 1, "approval": "manual"},
    "participations": {}, "requests": {},
    "reward-requests": {"status": "approved", "reason": "good"},
}  # fmt: skip


def path_of(operation: Operation, id_: str = "") -> str:
    """Its path with an ID of something, by default of what does not exist."""
    return operation.path.replace("{id}", id_ or "0" * (32 if "users" in operation.path else 24))


def behind(trio: Trio, operation: Operation) -> Service:
    """The service that answers it."""
    return trio.auth if operation.upstream == "auth" else trio.events[0]


def named(operation: Operation) -> str:
    """For the IDs of tests."""
    return f"{operation.method} {operation.path}"


def good_body(operation: Operation) -> Any:
    """A body that the operation accepts, to be changed."""
    parts = [part for part in operation.path.split("/") if part != "{id}"]
    return json.loads(json.dumps(GOOD[parts[-1]]))


def put_at(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The body with `value` at a place."""
    here = body
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return body


def documented(operation: Operation) -> Any:
    """What the document says of it."""
    return DOCUMENT["paths"][operation.path][operation.method.lower()]


def _schema(operation: Operation) -> Any:
    content = documented(operation).get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("schema", {})


#: every operation with every place of a string in its body
PLACED = [
    (operation, path)
    for operation in WITH_BODY
    for path in dict.fromkeys(strings(_schema(operation), DOCUMENT))
    if path
]
