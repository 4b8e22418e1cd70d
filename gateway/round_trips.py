"""Scripts of one key each, sent together: what comes while one round trip is under way shares the
next. No timer delays anybody, and the busier it is, the more calls a round trip carries.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from shared.storage.redis import NoScriptError, Redis, RedisError, RedisTimeoutError

Call = tuple[str, int, int]
"""The script's key and two arguments."""
SLICES = 5


@dataclass(slots=True)
class _Ask:
    calls: list[Call]
    answer: asyncio.Future[list[int]]
    context: Context = field(default_factory=copy_context)


class RoundTrips:
    """Calls of one script. A round trip that takes longer than `budget_s` counts as failed."""

    def __init__(self, redis: Redis, script: str, budget_s: float) -> None:
        self._redis, self._script, self._budget_s = redis, script, budget_s
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._waiting: list[_Ask] = []
        self._trip: asyncio.Task[None] | None = None

    async def ask(self, calls: list[Call]) -> list[int]:
        """The script's replies.

        RedisError if Redis refuses, is away or too slow. That takes at most two budgets: the
        rest of the round trip that is under way, and one's own.
        """
        ask = _Ask(calls, asyncio.get_running_loop().create_future())
        self._waiting.append(ask)
        if self._trip is None:
            self._start()
        return await ask.answer

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        # in the context of the first that waits: a span of Redis belongs to that request's trace
        work = self._serve(batch)
        self._trip = asyncio.create_task(work, context=batch[0].context)

    async def _serve(self, batch: list[_Ask]) -> None:
        try:
            replies = iter(await self._bounded([call for ask in batch for call in ask.calls]))
            for ask in batch:
                values = [next(replies) for _ in ask.calls]
                if not ask.answer.done():
                    ask.answer.set_result(values)
        except BaseException as error:
            # Who waited for the next round trip has waited long enough to learn this.
            failed = error if isinstance(error, Exception) else RedisError("stopped")
            waiting, self._waiting = self._waiting, []
            for ask in (*batch, *waiting):
                if not ask.answer.done():
                    ask.answer.set_exception(failed)
            if not isinstance(error, Exception):
                raise
        finally:
            self._trip = None
            if self._waiting:
                self._start()

    async def _bounded(self, calls: list[Call]) -> list[int]:
        """Replies within the budget, counted in slices.

        While this process is too busy to look, an answer may have come long ago. A pause of the
        event loop, however long, uses up one slice, so it alone never looks like a silent Redis.
        """
        sending = asyncio.ensure_future(self._send(calls))
        sending.add_done_callback(_retrieve)
        try:
            for _ in range(SLICES):
                await asyncio.wait({sending}, timeout=self._budget_s / SLICES)
                if sending.done():
                    return sending.result()
        except asyncio.CancelledError:
            sending.cancel()
            raise
        # left to end by the client's own time-out, which counts it as a failure of Redis
        raise RedisTimeoutError("no answer in time")

    async def _send(self, calls: list[Call]) -> list[int]:
        replies = await self._pipeline("EVALSHA", self._sha, calls)
        missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:  # Redis was restarted, or has never seen it: the text itself loads it
            again = await self._pipeline("EVAL", self._script, [calls[n] for n in missing])
            for n, reply in zip(missing, again, strict=True):
                replies[n] = reply
        values: list[int] = []
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
            values.append(int(reply))  # type: ignore[call-overload]
        return values

    async def _pipeline(self, command: str, script: str, calls: list[Call]) -> list[object]:
        pipeline = self._redis.pipeline(transaction=False)
        for key, first, second in calls:
            pipeline.execute_command(command, script, 1, key, first, second)
        return list(await pipeline.execute(raise_on_error=False))


def _retrieve(done: asyncio.Future[list[int]]) -> None:
    if not done.cancelled():
        done.exception()
