"""Who may call a route: a dependency that checks it, and a route that tells it to the gateway."""

from collections.abc import Callable
from typing import Any, cast

from fastapi import Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from plainview import bind_user, get_logger
from shared.errors import Forbidden, Unauthenticated
from shared.tokens import Principal, Role, TokenVerifier
from shared.web.body_limit import BoundedRoute


def recall(request: Request) -> Principal | None:
    """The principal of a bearer token that was verified before, else None; binds the user."""
    token = _bearer_token(request)
    principal = _verifier(request).recall(token) if token else None
    if principal is not None:
        bind_user(principal.user_id)
    return principal


async def authenticate(request: Request) -> Principal:
    """The principal of the request's bearer token; binds the user for its log lines.

    Raises Unauthenticated without exactly one valid token, and KeysUnavailable if there are no
    keys to verify it. A refusal is a security log event.
    """
    token = _bearer_token(request)
    if not token:
        raise Unauthenticated("An access token is required", code="token_missing")
    try:
        principal = await _verifier(request).verify(token)
    except Unauthenticated as exc:
        get_logger("security").info("token.rejected", code=exc.code)
        raise
    bind_user(principal.user_id)
    return principal


def _bearer_token(request: Request) -> str:
    """The token of the only `Authorization` header; empty if there is none, or several headers."""
    values = [value for name, value in request.scope["headers"] if name == b"authorization"]
    scheme, _, token = values[0].decode("latin-1").partition(" ") if len(values) == 1 else ("",) * 3
    return token.strip() if scheme.lower() == "bearer" else ""


def _verifier(request: Request) -> TokenVerifier:
    return cast(TokenVerifier, request.app.state.deps.verifier)


class Require(SecurityBase):
    """A dependency that gives the principal if it has one of the roles; OpenAPI: a bearer token.

    Raises Unauthenticated (401) and Forbidden (403); a denial is a security log event.
    """

    def __init__(self, *roles: Role) -> None:
        self.roles = roles
        self.model = HTTPBearerModel(bearerFormat="JWT", description="Access token of login")
        self.scheme_name = "HTTPBearer"

    async def __call__(self, request: Request) -> Principal:
        who = await authenticate(request)
        if who.roles.isdisjoint(self.roles):
            get_logger("security").warning("access.denied", required=sorted(self.roles))
            raise Forbidden("Your role may not do this")
        return who


ANY_ROLE = tuple(Role)
PUBLIC = {"x-roles": list[str]()}
"""`openapi_extra` of a route that anybody may call, without a token."""


class ServiceRoute(BoundedRoute):
    """A route by whose OpenAPI operation the gateway serves it: its roles, its longest body.

    The roles are those of its `Require`. Without one, and unless it says that it is PUBLIC, it has
    no `x-roles`, and the generator refuses it: no route is public by mistake.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        required = [
            needed.call.roles
            for needed in self.dependant.dependencies
            if isinstance(needed.call, Require)
        ]
        roles = {"x-roles": [role.value for role in required[0]]} if required else {}
        self.openapi_extra = {
            **roles,
            **(self.openapi_extra or {}),
            "x-max-body": self.max_body_size,
        }
