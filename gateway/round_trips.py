"""Batches calls of a Redis script: those that come during one round trip share the next.

No timer delays a call, and the busier the process is, the more calls a round trip carries.
"""

import asyncio
import hashlib
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from shared.storage.redis import NoScriptError, Redis, RedisError, patiently

Call = tuple[str, int, int]
"""The script's only key, and its two arguments."""


@dataclass(slots=True)
class _Ask:
    calls: list[Call]
    answer: asyncio.Future[list[int]]
    context: Context = field(default_factory=copy_context)


class RoundTrips:
    """Calls one script in batches. A round trip that takes longer than `budget_s` has failed."""

    def __init__(self, redis: Redis, script: str, budget_s: float) -> None:
        self._redis, self._script, self._budget_s = redis, script, budget_s
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._waiting: list[_Ask] = []
        self._trip: asyncio.Task[None] | None = None

    async def ask(self, calls: list[Call]) -> list[int]:
        """The script's replies, in the order of `calls`.

        RedisError if Redis refuses one of them, is away or too slow. It takes at most twice
        `budget_s`: for the rest of the round trip that is under way, and for the one with these
        calls.
        """
        ask = _Ask(calls, asyncio.get_running_loop().create_future())
        self._waiting.append(ask)
        if self._trip is None:
            self._start()
        return await ask.answer

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        # The Redis span of the batch has to belong to one trace: that of the first request.
        work = self._serve(batch)
        self._trip = asyncio.create_task(work, context=batch[0].context)

    async def _serve(self, batch: list[_Ask]) -> None:
        try:
            calls = [call for ask in batch for call in ask.calls]
            replies = iter(await patiently(self._send(calls), self._budget_s))
            for ask in batch:
                values = [next(replies) for _ in ask.calls]
                refused = next((one for one in values if isinstance(one, Exception)), None)
                if ask.answer.done():
                    continue
                if refused is not None:  # the others of the batch are answered all the same
                    ask.answer.set_exception(refused)
                else:
                    ask.answer.set_result([int(one) for one in values])  # type: ignore[call-overload]
        except BaseException as error:
            # Calls that wait for the next round trip fail too: they have used up their time.
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

    async def _send(self, calls: list[Call]) -> list[object]:
        replies = await self._pipeline("EVALSHA", self._sha, calls)
        missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:  # Redis does not know the script, e.g. after a restart; EVAL loads it
            again = await self._pipeline("EVAL", self._script, [calls[n] for n in missing])
            for n, reply in zip(missing, again, strict=True):
                replies[n] = reply
        return replies

    async def _pipeline(self, command: str, script: str, calls: list[Call]) -> list[object]:
        pipeline = self._redis.pipeline(transaction=False)
        for key, first, second in calls:
            pipeline.execute_command(command, script, 1, key, first, second)
        return list(await pipeline.execute(raise_on_error=False))
