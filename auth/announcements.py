"""What auth tells other services about users.

An announcement is first stored in the user's document, then relayed to a Redis Stream.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any, cast

from redis.asyncio import Redis

from auth import signals
from auth.repository import Users
from plainview import inject_context, produce_span
from shared.announcements import STREAM, Announcement
from shared.times import now, to_text

STREAM_LENGTH = 100_000
PENDING_LIMIT = 100  # announcements of one user that wait for Redis; beyond it old ones are dropped
POLL_S = 1.0  # finds what another replica or a crash left; this process's writes wake it at once
BATCH_USERS = 50


def announcement(kind: Announcement, user_id: str) -> dict[str, str]:
    """An announcement to store with the user; it carries the trace context of this request.

    IDs sort by time, so the relay publishes what happened to a user in order.
    """
    with produce_span(STREAM):
        return {
            "id": f"{time.time_ns():016x}{token_hex(8)}",
            "type": kind.value,
            "user_id": user_id,
            "occurred_at": to_text(now()),
            **inject_context(),
        }


class Relay:
    """Publishes waiting announcements, in order for each user.

    Delivery is at least once: readers recognise an announcement they had before by its ID.
    """

    def __init__(self, users: Users, redis: Redis) -> None:
        self._users, self._redis = users, redis
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Make `turn` look now, without waiting for the next poll, as something was written."""
        self._awake.set()

    async def turn(self) -> None:
        """Publish one batch; then wait until there may be more, at most `POLL_S`."""
        self._awake.clear()
        if not await self.publish():
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._awake.wait()

    async def publish(self) -> bool:
        """Publish one batch; return whether more may be waiting."""
        batch = await self._users.outboxes(BATCH_USERS)
        if batch:
            await self._send([item for outbox in batch for item in outbox.announcements])
        for outbox in batch:
            ids = [item["id"] for item in outbox.announcements]
            await self._users.remove_announcements(outbox.user_id, ids, outbox.mark)
        full = len(batch) == BATCH_USERS
        signals.pending(await self._users.count_waiting() if full else 0)
        return full

    async def _send(self, items: Sequence[Mapping[str, Any]]) -> None:
        outcome: signals.Announced = "failed"
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for item in items:
                pipeline.xadd(STREAM, cast(Any, dict(item)), maxlen=STREAM_LENGTH, approximate=True)
            await pipeline.execute()
            outcome = "published"
        finally:
            for kind, count in Counter(item["type"] for item in items).items():
                signals.announced(Announcement(kind), outcome, count)
            if outcome == "failed":
                signals.pending(await self._users.count_waiting())
