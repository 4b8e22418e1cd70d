"""The single-document writes that a claim is made of; docs/decisions/0003 tells why these.

A request `{_id: "<reward>:<user>", public_id, user_key, status, op?}` has in `op: {id, delta}` the
change of stock that is not finished yet. A reward `{stock_left, ops, fenced}` has in `ops` markers
of the changes that its stock contains, and in `fenced` the IDs of those that it must not accept.
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
        """Insert a request; DuplicateKey if the user has requested the reward or used the key."""
        await self.requests.insert_one(request)

    async def by_key(self, user_key: str) -> Document | None:
        """The request that was made with this key ("<user>:<Idempotency-Key>")."""
        return await self.requests.find_one({"user_key": user_key})

    async def by_id(self, request_id: str) -> Document | None:
        """The request of a reward and user; its ID is "<reward>:<user>"."""
        return await self.requests.find_one({"_id": request_id})

    async def move_stock(self, reward_id: str, op: str, delta: int) -> bool:
        """Change the stock and set the marker of `op` in one write; False if sold out or fenced.

        May only be called by the process that made `op`, and only once.
        """
        where: Document = {"_id": reward_id, f"fenced.{op}": {"$exists": False}}
        if delta < 0:
            where["stock_left"] = {"$gte": -delta}
        change = {"$inc": {"stock_left": delta}, "$set": {f"ops.{op}": 1, "last_op_at": _stamp()}}
        return (await self.rewards.update_one(where, change)).matched_count == 1

    async def fence(self, reward_id: str, op: str) -> bool:
        """Prevent `op` from ever changing the stock; False if it has changed it already."""
        where = {"_id": reward_id, f"ops.{op}": {"$exists": False}}
        change = {"$set": {f"fenced.{op}": 1, "last_op_at": _stamp()}}
        return (await self.rewards.update_one(where, change)).matched_count == 1

    async def finish(self, request_id: str, op: str, change: Mapping[str, Any]) -> Document | None:
        """Apply `change` and remove `op` after its stock was changed; the request as it is then.

        None if the request's work is not `op` any more, as another process has done it.
        """
        update: Document = {"$unset": {"op": ""}}
        if change:
            update["$set"] = dict(change)
        where = {"_id": request_id, "op.id": op}
        return await self.requests.find_one_and_update(where, update)

    async def reissue(self, request_id: str, op: str, new: str) -> bool:
        """Replace the ID of unfinished work, after the old one was fenced; False if it is done."""
        result = await self.requests.update_one(
            {"_id": request_id, "op.id": op}, {"$set": {"op.id": new}}
        )
        return result.matched_count == 1

    async def abandon(self, request_id: str, op: str) -> bool:
        """Delete a request that got no stock, so that it can be made again; False if it is gone."""
        where = {"_id": request_id, "op.id": op, "status": "working"}
        return (await self.requests.delete_one(where)).deleted_count == 1

    async def decide(self, request_id: str, change: Mapping[str, Any]) -> Document | None:
        """Apply the decision to a pending request; None if it is not pending any more."""
        return await self.requests.find_one_and_update(
            {"_id": request_id, "status": "pending"}, {"$set": dict(change)}
        )

    async def unfinished(self, before: datetime | None = None, limit: int = 500) -> list[Document]:
        """Requests with unfinished work that began before this time (None: any), oldest first."""
        where = {"op.id": {"$lt": prefix(before) if before else "~"}}
        return await self.requests.find(where).sort([("op.id", 1)]).limit(limit).to_list(limit)

    async def working_ops(self, ops: Collection[str]) -> set[str]:
        """Those of `ops` that are unfinished, so their markers are still needed."""
        found = self.requests.find({"op.id": {"$in": list(ops)}}, {"op": 1})
        return {row["op"]["id"] for row in await found.to_list()}

    async def touched_rewards(self, limit: int = 200) -> list[Document]:
        """The markers and fences of the `limit` rewards whose stock changed last."""
        found = self.rewards.find({"last_op_at": {"$gt": ""}}, {"ops": 1, "fenced": 1})
        return await found.sort([("last_op_at", -1)]).limit(limit).to_list(limit)

    async def forget_markers(
        self, reward_id: str, ops: Collection[str], fenced: Collection[str]
    ) -> None:
        """Remove these markers and fences from a reward."""
        names = [f"ops.{op}" for op in ops] + [f"fenced.{op}" for op in fenced]
        if names:
            change = {"$unset": dict.fromkeys(names, "")}
            await self.rewards.update_one({"_id": reward_id}, change)


def _stamp() -> str:
    return to_text(now())
