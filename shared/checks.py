"""Checks of what a service needs, with the reason as readiness tells it."""

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
