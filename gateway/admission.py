"""Decides by limits, token and roles whether a request may go on to its upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from gateway import signals
from gateway.operations import Operation
from plainview import get_logger
from plainview.client_address import client_network
from shared.errors import Forbidden, TooMany, Unauthenticated, Unavailable
from shared.tokens import Principal
from shared.web.security import authenticate, recall

if TYPE_CHECKING:
    from gateway.deps import Deps


async def admit(request: Request, operation: Operation, deps: Deps, address: str) -> str:
    """Admit the request; the client's name: the user's ID, on public routes its network.

    Raises TooMany (429), Unauthenticated (401), Forbidden (403) and Unavailable (503). With a
    valid token the request counts for its user, else for its address. A token that was not
    verified before counts for both, as checking a signature is costly; if it is valid, it is
    served although others of its address (behind one NAT, say) have used up the limit.
    """
    network = client_network(address, deps.ipv6_prefix)
    asked: list[tuple[signals.Limit, str]] = [("address", network)]
    if operation.is_sign_in:
        asked.append(("sign_in", network))
    if not operation.roles:
        await deps.limits.check(*asked)
        return network
    principal = recall(request)
    if principal is None:
        try:
            await deps.limits.check(*asked)
        except TooMany as limited:
            try:
                principal = await _verify(request)
            except (Unauthenticated, Unavailable):
                raise limited from None
        else:
            principal = await _verify(request)
    await deps.limits.check(("user", principal.user_id))
    deps.active_users.mark(principal.user_id)
    if principal.roles.isdisjoint(operation.roles):
        signals.verification("forbidden")
        required = sorted(operation.roles)
        get_logger("security").warning("access.denied", required=required, path=operation.path)
        raise Forbidden("Your role may not do this")
    signals.verification("accepted")
    return principal.user_id


async def _verify(request: Request) -> Principal:
    try:
        return await authenticate(request)
    except Unauthenticated:
        signals.verification("rejected")
        raise
    except Unavailable:
        signals.verification("keys_unavailable")
        raise
