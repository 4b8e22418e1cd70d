"""Events, rewards and participations put straight into a database of the event service."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from event.ids import new_id
from shared.times import to_text


def new_event(**more: Any) -> dict[str, Any]:
    """The body that makes an event, which runs."""
    at = datetime.now(UTC)
    return {
        "title": "Autumn",
        "starts_at": (at - timedelta(hours=1)).isoformat(),
        "ends_at": (at + timedelta(hours=1)).isoformat(),
        **more,
    }


async def add_event(
    database: Any, *, users: Iterable[str] = (), conditions: Sequence[Any] = (), **more: Any
) -> str:
    """An active event that these users take part in; its ID."""
    at, users = datetime.now(UTC), list(users)
    event = {
        "_id": new_id(),
        "title": "Autumn",
        "description": "",
        "status": "active",
        "starts_at": to_text(at - timedelta(days=1)),
        "ends_at": to_text(at + timedelta(days=1)),
        "conditions": list(conditions),
        "participants": len(users),
        "created_at": to_text(at),
        **more,
    }
    await database["events"].insert_one(event)
    for user in users:
        await database["participations"].insert_one(
            {
                "_id": f"{event['_id']}:{user}",
                "event_id": event["_id"],
                "user_id": user,
                "joined_at": to_text(at),
            }
        )
    return str(event["_id"])


async def add_reward(
    database: Any, event_id: str, *, stock: int, approval: str = "automatic", **more: Any
) -> str:
    """A reward with all of its stock left; its ID."""
    reward = {
        "_id": new_id(),
        "event_id": event_id,
        "name": "A coupon",
        "kind": "coupon",
        "amount": 1,
        "stock": stock,
        "stock_left": stock,
        "approval": approval,
        "ops": {},
        "fenced": {},
        **more,
    }
    await database["rewards"].insert_one(reward)
    return str(reward["_id"])


async def offered(database: Any, *users: str, stock: int = 1, **more: Any) -> str:
    """The ID of a reward of a new event, in which these users take part."""
    return await add_reward(database, await add_event(database, users=users), stock=stock, **more)
