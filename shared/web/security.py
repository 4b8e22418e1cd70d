"""FastAPI dependencies that admit a request by its access token and roles."""

from typing import Any, Protocol, cast

from fastapi import Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from plainview import bind_user, get_logger
from shared.errors import Forbidden, Unauthenticated
from shared.tokens import Principal, Role
from shared.web.body_limit import SMALL_BODY


class Verifier(Protocol):
    """The interface of `app.state.verifier`, e.g. a TokenVerifier."""

    def recall(self, token: str) -> Principal | None:
        """The principal of a token that was verified before and is still valid."""

    async def verify(self, token: str) -> Principal:
        """The principal of a token, or Unauthenticated."""


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


def _verifier(request: Request) -> Verifier:
    return cast(Verifier, request.app.state.verifier)


class Require(SecurityBase):
    """A dependency that gives the principal if it has one of the roles; OpenAPI: a bearer token.

    Raises Unauthenticated (401) and Forbidden (403); a denial is a security log event.
    """

    def __init__(self, roles: frozenset[Role]) -> None:
        self.model = HTTPBearerModel(bearerFormat="JWT", description="Access token of login")
        self.scheme_name = "HTTPBearer"
        self._roles = roles

    async def __call__(self, request: Request) -> Principal:
        who = await authenticate(request)
        if self._roles.isdisjoint(who.roles):
            get_logger("security").warning("access.denied", required=sorted(self._roles))
            raise Forbidden("Your role may not do this")
        return who


def require(*roles: Role) -> Require:
    """A dependency for routes that one of these roles may call."""
    return Require(frozenset(roles))


def gateway_doc(*roles: Role, max_body: int = SMALL_BODY) -> dict[str, Any]:
    """`openapi_extra` of a route, by which the gateway serves it.

    The roles that may call it (none given means public), and the most bytes of its body.
    """
    return {"x-roles": [role.value for role in roles], "x-max-body": max_body}


ANY_ROLE = tuple(Role)
