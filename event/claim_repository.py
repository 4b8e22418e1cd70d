"""The single-document writes that a claim is made of; docs/decisions/0003 tells why these.

A request `{_id: "<reward>:<user>", public_id, user_key, status, op?}` holds in `op: {id, delta}`
the change of stock that is still to be finished. A reward `{stock_left, ops, fenced}` remembers in
`ops` the changes that it contains and in `fenced` those that it will never accept.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from event.ids import prefix
from event.repository import DuplicateKey, Repository
from event.times import now, to_text
from shared.storage.mongo import Document

__all__ = ["ClaimRepository", "DuplicateKey"]


class ClaimRepository(Repository):
    """Requests and the stock of rewards."""

    async def add_request(self, request: Document) -> None:
        """Insert; DuplicateKey if the user has requested the reward or used the key before."""
        await self.requests.insert_one(request)

    async def by_key(self, user_key: str) -> Document | None:
        """The request that was made with a key."""
        return await self.requests.find_one({"user_key": user_key})

    async def by_id(self, request_id: str) -> Document | None:
        """The request of a reward and user, "<reward>:<user>"."""
        return await self.requests.find_one({"_id": request_id})

    async def move_stock(self, reward_id: str, op: str, delta: int) -> bool:
        """Change the stock and leave the marker, in one write; False if sold out or fenced.

        Only the process that made `op` sends this, and only once.
        """
        where: Document = {"_id": reward_id, f"fenced.{op}": {"$exists": False}}
        if delta < 0:
            where["stock_left"] = {"$gte": -delta}
        change = {"$inc": {"stock_left": delta}, "$set": {f"ops.{op}": 1, "last_op_at": _stamp()}}
        return (await self.rewards.update_one(where, change)).matched_count == 1

    async def fence(self, reward_id: str, op: str) -> bool:
        """Make sure that `op` can never change the stock; False if it has changed it already."""
        where = {"_id": reward_id, f"ops.{op}": {"$exists": False}}
        change = {"$set": {f"fenced.{op}": 1, "last_op_at": _stamp()}}
        return (await self.rewards.update_one(where, change)).matched_count == 1

    async def finish(self, request_id: str, op: str, change: Mapping[str, Any]) -> Document | None:
        """The stock is changed: nothing is left to do. None if `op` is not what is to be done."""
        update: Document = {"$unset": {"op": ""}}
        if change:
            update["$set"] = dict(change)
        where = {"_id": request_id, "op.id": op}
        return await self.requests.find_one_and_update(where, update)

    async def reissue(self, request_id: str, op: str, new: str) -> bool:
        """Give the work that is to be done a new ID, once its old one is fenced."""
        result = await self.requests.update_one(
            {"_id": request_id, "op.id": op}, {"$set": {"op.id": new}}
        )
        return result.matched_count == 1

    async def abandon(self, request_id: str, op: str) -> bool:
        """Forget a request that got nothing; it may be made again."""
        where = {"_id": request_id, "op.id": op, "status": "working"}
        return (await self.requests.delete_one(where)).deleted_count == 1

    async def decide(self, request_id: str, change: Mapping[str, Any]) -> Document | None:
        """Decide on a pending request; None if it is not pending any more."""
        return await self.requests.find_one_and_update(
            {"_id": request_id, "status": "pending"}, {"$set": dict(change)}
        )

    async def unfinished(self, before: datetime | None = None, limit: int = 500) -> list[Document]:
        """Requests with work left that was begun before a time, oldest first."""
        where = {"op.id": {"$lt": prefix(before) if before else "~"}}
        return await self.requests.find(where).sort([("op.id", 1)]).limit(limit).to_list(limit)

    async def working_ops(self, ops: Collection[str]) -> set[str]:
        """Those of `ops` that a request still needs to see."""
        found = self.requests.find({"op.id": {"$in": list(ops)}}, {"op": 1})
        return {row["op"]["id"] for row in await found.to_list()}

    async def touched_rewards(self, limit: int = 200) -> list[Document]:
        """The markers of the rewards whose stock changed last."""
        found = self.rewards.find({"last_op_at": {"$gt": ""}}, {"ops": 1, "fenced": 1})
        return await found.sort([("last_op_at", -1)]).limit(limit).to_list(limit)

    async def forget_markers(
        self, reward_id: str, ops: Collection[str], fenced: Collection[str]
    ) -> None:
        """Remove markers and fences that nobody needs any more."""
        names = [f"ops.{op}" for op in ops] + [f"fenced.{op}" for op in fenced]
        if names:
            change = {"$unset": dict.fromkeys(names, "")}
            await self.rewards.update_one({"_id": reward_id}, change)


def _stamp() -> str:
    return to_text(now())
