"""Readiness checks of the parts a service needs; a failed one reports its reason."""

from collections.abc import Awaitable, Callable

from plainview import Check, CheckFailed
from shared.errors import Timeout, Unavailable


def check(ask: Callable[[], Awaitable[object]], *, required: bool = True) -> Check:
    """A check that fails with the `reason` of the domain error that `ask` raises."""

    async def ping() -> None:
        try:
            await ask()
        except (Timeout, Unavailable) as exc:
            raise CheckFailed(exc.reason, exc.detail) from exc

    return Check(ping, required)
