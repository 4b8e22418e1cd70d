"""Whether a request may go on to its upstream: limits, token, roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from gateway import signals
from gateway.operations import Operation
from plainview import get_logger
from shared.errors import Forbidden, Unauthenticated, Unavailable
from shared.web.security import authenticate

if TYPE_CHECKING:
    from gateway.deps import Deps


async def admit(request: Request, operation: Operation, deps: Deps, address: str) -> str:
    """Who the client is: the user's ID where a token is needed, else the address.

    Raises TooMany (429), Unauthenticated (401), Forbidden (403) and Unavailable (503).
    """
    asked = [("address", address)]
    if operation.is_sign_in:
        asked.append(("sign_in", address))
    await deps.limits.check(*asked)
    if not operation.roles:
        return address
    return await _admit_user(request, operation, deps)


async def _admit_user(request: Request, operation: Operation, deps: Deps) -> str:
    """The user's ID, once the token is verified, the user counted and the roles looked at."""
    try:
        principal = await authenticate(request)
    except Unauthenticated:
        signals.verification("rejected")
        raise
    except Unavailable:
        signals.verification("keys_unavailable")
        raise
    await deps.limits.check(("user", principal.user_id))
    deps.active_users.mark(principal.user_id)
    if principal.roles.isdisjoint(operation.roles):
        signals.verification("forbidden")
        required = sorted(operation.roles)
        get_logger("security").warning("access.denied", required=required, path=operation.path)
        raise Forbidden("Your role may not do this")
    signals.verification("accepted")
    return principal.user_id
