"""The calls of a MongoDB driver: bounded in number and time, their errors made our own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pymongo import errors as mongo_errors

from shared.errors import Timeout, Unavailable

POOL = 50
WAIT_S = 1.0  # longest wait for a free connection; part of DEADLINE_S
DEADLINE_S = 2.0  # for one call; less than the gateway's 5 s, so that clients hear the reason

T = TypeVar("T")


class DatabaseTimeout(Timeout):
    """MongoDB did not answer in time: a write may or may not have happened."""

    code = "database_timeout"


class DatabaseUnavailable(Unavailable):
    """MongoDB is away, or no connection became free."""

    code = "database_unavailable"


class DatabaseRefused(DatabaseUnavailable):
    """MongoDB does not accept the user or password, or the user may not do this."""

    reason = "credentials"


class DatabaseTooOld(DatabaseUnavailable):
    """This version of MongoDB is too old for the driver."""

    reason = "version"


_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18  # error codes of MongoDB


class BoundedCalls:
    """Lets as many commands run at once as there are connections; others wait at most WAIT_S.

    Motor's commands first wait for a thread, which the driver's time-out for a free connection
    does not cover. Without this, an overload would make them all wait until DEADLINE_S.

    When the driver finds no server, one command at a time goes on looking for one, and all others
    are refused at once. Otherwise each would hold a place for as long as it looks.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(POOL)
        self._away = self._looking = False

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a driver's call and await it for at most DEADLINE_S; errors become our own."""
        looks = False
        try:
            async with asyncio.timeout(DEADLINE_S):
                self._refuse_while_away()
                await self._enter()
                try:
                    self._refuse_while_away()
                    looks = self._looking = self._away
                    result = await call()
                    self._away = False
                    return result
                finally:
                    self._free.release()
                    if looks:
                        self._looking = False
        except mongo_errors.WaitQueueTimeoutError as exc:
            raise DatabaseUnavailable("The database is busy") from exc
        except mongo_errors.ServerSelectionTimeoutError as exc:
            self._away = True
            raise DatabaseUnavailable("The database is away", retry_after=2) from exc
        except mongo_errors.ConfigurationError as exc:
            raise DatabaseTooOld("The database cannot be used") from exc
        except (TimeoutError, mongo_errors.PyMongoError) as exc:
            if isinstance(exc, TimeoutError) or exc.timeout:
                raise DatabaseTimeout("The database did not answer in time") from exc
            if isinstance(exc, mongo_errors.ConnectionFailure):
                raise DatabaseUnavailable("The database is away", retry_after=2) from exc
            self._away = False  # a server has answered
            code = exc.code if isinstance(exc, mongo_errors.OperationFailure) else None
            if code in (_UNAUTHORIZED, _AUTHENTICATION_FAILED):
                raise DatabaseRefused("The database refuses the credentials") from exc
            raise

    def _refuse_while_away(self) -> None:
        if self._away and self._looking:
            raise DatabaseUnavailable("The database is away", retry_after=2)

    async def _enter(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError as exc:
            raise DatabaseUnavailable("The database is busy") from exc
