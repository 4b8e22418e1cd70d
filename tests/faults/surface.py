"""Every operation of the merged OpenAPI document, its bodies, and the strings in them."""

import json
from collections.abc import Iterator
from typing import Any

from gateway.operations import Operation, load_document, operations

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


def placed() -> Iterator[tuple[Operation, tuple[Any, ...]]]:
    for operation in WITH_BODY:
        item = DOCUMENT["paths"][operation.path][operation.method.lower()]
        content = item.get("requestBody", {}).get("content", {}).get("application/json", {})
        seen = set()
        for path in strings(content.get("schema", {}), DOCUMENT):
            if path and path not in seen:
                seen.add(path)
                yield operation, path


PLACED = list(placed())
