"""Applies auth's announcements (a Redis Stream, consumer group `event`) to the members.

Delivery is at least once: a message is acknowledged after it was applied, applying it again changes
nothing, and messages that a dead consumer held are taken over. A message that fails every time is
moved to a bounded stream of dead letters. While Redis or MongoDB is away, messages only wait.
"""

import os
import socket
import time
from collections.abc import Sequence
from typing import Any, cast
from zoneinfo import ZoneInfo

from event import signals
from event.repository import MemberRepository
from plainview import batch_span, consume_span, get_logger
from shared.announcements import STREAM, Announcement
from shared.errors import Timeout, Unavailable
from shared.storage.redis import RedisError
from shared.times import from_text

DEAD_LETTERS = f"{STREAM}:dead"
GROUP = "event"
BATCH = 100
BLOCK_S = 2.0  # a read waits this long for messages; the client's time-out has to be longer
MAX_DEAD_LETTERS = 1000
MAX_COUNTED = 1000
FORGET_CONSUMER_S = 3600

log = get_logger("messaging")
Message = tuple[str, dict[str, str]]


class Consumer:
    """One consumer of the group.

    It takes over messages that another consumer has held for `takeover_s` seconds.
    """

    def __init__(
        self,
        redis: Any,
        members: MemberRepository,
        zone: ZoneInfo,
        *,
        takeover_s: float = 15,
        max_deliveries: int = 5,
    ) -> None:
        self._redis = redis
        self._members = members
        self._zone = zone
        self._takeover_s = takeover_s
        self._max_deliveries = max_deliveries
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._ready = False
        self._told_too_old = False
        self._looked_at = float("-inf")

    async def turn(self, block_s: float = BLOCK_S) -> int:
        """Handle one batch, waiting at most `block_s` seconds for it; the number of messages."""
        try:
            return await self._turn(block_s)
        except BaseException:
            self._ready = False  # Redis may come back empty, without the group
            raise

    async def _turn(self, block_s: float) -> int:
        if not self._ready:
            await self._create_group()
        if time.monotonic() - self._looked_at > self._takeover_s / 3:
            left = await self._take_over()
            self._looked_at = time.monotonic()
            await self._housekeep()
            if left:
                return await self._handle(left)
        found = await self._redis.xreadgroup(
            GROUP, self._name, {STREAM: ">"}, count=BATCH, block=int(block_s * 1000)
        )
        return await self._handle(cast(list[Message], found[0][1])) if found else 0

    async def _take_over(self) -> list[Message]:
        """Messages that another consumer has held too long; always none before Redis 6.2."""
        try:
            found = await self._redis.xautoclaim(
                STREAM, GROUP, self._name, int(self._takeover_s * 1000), count=BATCH
            )
        except RedisError as exc:
            if "unknown command" not in str(exc).lower():
                raise
            if not self._told_too_old:
                self._told_too_old = True
                log.error("stream.no_takeover", needs="Redis 6.2")
            return []
        return [(id_, fields) for id_, fields in found[1] if fields]

    async def _create_group(self) -> None:
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except RedisError as exc:
            if "BUSYGROUP" not in str(exc):
                raise
        self._ready = True

    async def _handle(self, messages: Sequence[Message]) -> int:
        done: list[str] = []
        try:
            with batch_span(STREAM, [fields for _, fields in messages]):
                for id_, fields in messages:
                    with consume_span(STREAM, fields, message_id=id_):
                        if await self._apply(id_, fields):
                            done.append(id_)
        finally:  # acknowledge what was applied, also if the database fails in the middle
            if done:
                await self._redis.xack(STREAM, GROUP, *done)
        return len(messages)

    async def _apply(self, id_: str, fields: dict[str, str]) -> bool:
        type_ = fields.get("type", "")
        if not _is_text(fields):
            signals.announcement("other", "undecodable")
            await self._bury(id_, fields)
            return True
        try:
            changed = await self._change(type_, fields)
        except (Timeout, Unavailable):
            raise  # the database is away: the message is tried again and not counted as failed
        except Exception as exc:  # one bad message must not stop the others
            signals.announcement(type_, "failed")
            log.warning("message.failed", message_id=id_, error_type=type(exc).__name__)
            return await self._is_dead(id_, fields)
        signals.announcement(type_, "applied" if changed else "duplicate")
        log.debug("message.applied", message_id=id_, type=type_, changed=changed)
        return True

    async def _change(self, type_: str, fields: dict[str, str]) -> bool:
        user_id, at = fields["user_id"], from_text(fields["occurred_at"])
        if not 0 < len(user_id) <= 64:
            raise ValueError("not a user ID")
        match type_:
            case Announcement.REGISTERED:
                return await self._members.registered(user_id, at)
            case Announcement.LOGGED_IN:
                day = at.astimezone(self._zone).strftime("%Y%m%d")
                return await self._members.logged_in(user_id, at, day)
            case _:
                raise ValueError("an unknown type")

    async def _is_dead(self, id_: str, fields: dict[str, str]) -> bool:
        pending = await self._redis.xpending_range(STREAM, GROUP, id_, id_, 1)
        if pending and pending[0]["times_delivered"] < self._max_deliveries:
            return False
        await self._bury(id_, fields)
        return True

    async def _bury(self, id_: str, fields: dict[str, str]) -> None:
        letter = {**fields, "message_id": id_}
        await self._redis.xadd(DEAD_LETTERS, letter, maxlen=MAX_DEAD_LETTERS, approximate=False)
        log.error("message.dead_lettered", message_id=id_)

    async def _housekeep(self) -> None:
        for group in await self._redis.xinfo_groups(STREAM):
            if group["name"] == GROUP:
                unread = group.get("lag")
                if unread is None:  # Redis before 7 has no lag, nor has it after deletions
                    unread = await self._count_unread(group["last-delivered-id"])
                signals.stream_lag(int(unread) + int(group["pending"]))
        for consumer in await self._redis.xinfo_consumers(STREAM, GROUP):
            idle_s = consumer["idle"] / 1000
            if consumer["pending"] == 0 and idle_s > FORGET_CONSUMER_S:
                await self._redis.xgroup_delconsumer(STREAM, GROUP, consumer["name"])

    async def _count_unread(self, last: str) -> int:
        """The number of messages after ID `last`, at most `MAX_COUNTED`."""
        count = MAX_COUNTED + 1  # one more, as the range includes `last` itself
        found = await self._redis.xrange(STREAM, min=last, count=count)
        return sum(id_ != last for id_, _ in found)


def _is_text(fields: dict[str, str]) -> bool:
    """Whether it was valid UTF-8; the client decodes other bytes to lone surrogates."""
    try:
        "".join([*fields, *fields.values()]).encode()
    except UnicodeEncodeError:
        return False
    return True
