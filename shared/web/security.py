"""FastAPI dependencies that let a request in by its access token and roles."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from plainview import bind_user, get_logger
from shared.errors import Forbidden, Unauthenticated
from shared.tokens import Principal, Role

_BEARER = HTTPBearer(auto_error=False, bearerFormat="JWT", description="Access token of login")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


class Verifier(Protocol):
    """What `app.state.verifier` has to be, e.g. a TokenVerifier."""

    async def verify(self, token: str) -> Principal:
        """The principal of a token, or Unauthenticated."""


async def authenticate(request: Request) -> Principal:
    """The principal of the request's bearer token; binds the user for its log lines."""
    values = request.headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("An access token is required", code="token_missing")
    verifier = cast(Verifier, request.app.state.verifier)
    try:
        principal = await verifier.verify(token.strip())
    except Unauthenticated as exc:
        get_logger("security").info("token.rejected", code=exc.code)
        raise
    bind_user(principal.user_id)
    return principal


def require(*roles: Role) -> Callable[..., Awaitable[Principal]]:
    """A dependency: the principal, if it has one of the roles (none given: any user).

    Raises Unauthenticated (401) and Forbidden (403); a denial is a security log event.
    """

    async def principal(request: Request, _credentials: _Credentials) -> Principal:
        who = await authenticate(request)
        if roles and who.roles.isdisjoint(roles):
            get_logger("security").warning("access.denied", required=[*roles])
            raise Forbidden("Your role may not do this")
        return who

    return principal


def roles_doc(*roles: Role) -> dict[str, Any]:
    """`openapi_extra` of a route: the roles that may call it; none given means public."""
    return {"x-roles": [role.value for role in roles]}


ANY_ROLE = tuple(Role)
