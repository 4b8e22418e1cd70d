"""The operations of the merged OpenAPI document, which both the routes and the docs come from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.signals import Upstream
from shared.tokens import Role
from shared.web.body_limit import SMALL_BODY

DOCUMENT = Path(__file__).with_name("openapi.json")
METHODS = frozenset({"get", "put", "post", "delete", "patch"})


@dataclass(frozen=True)
class Operation:
    """One method of one path: who serves it, and which roles may call it (none: anybody).

    Its body has at most `max_body` bytes.
    """

    method: str
    path: str
    upstream: Upstream
    roles: frozenset[Role]
    idempotency_key: bool
    max_body: int = SMALL_BODY

    @property
    def is_sign_in(self) -> bool:
        """Whether it makes auth hash a password, which is costly and so has a limit of its own."""
        return not self.roles and self.path.rsplit("/", 1)[-1] in ("login", "register")


def load_document() -> dict[str, Any]:
    """The merged document that `make generate` writes."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    return document


def operations(document: Mapping[str, Any]) -> dict[str, dict[str, Operation]]:
    """Operations by path template, then by method in capitals.

    An operation without `x-roles` is an error, so that no route is public by mistake.
    """
    found: dict[str, dict[str, Operation]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method not in METHODS:
                continue
            names = {p.get("name", "").lower() for p in operation.get("parameters", ())}
            found.setdefault(path, {})[method.upper()] = Operation(
                method.upper(),
                path,
                operation["x-upstream"],
                frozenset(Role(role) for role in operation["x-roles"]),
                "idempotency-key" in names,
                operation.get("x-max-body", SMALL_BODY),
            )
    for methods in found.values():
        if "GET" in methods:
            methods["HEAD"] = methods["GET"]  # RFC 9110, section 9.3.2
    return found
