"""The single-document writes that a claim is made of; docs/decisions/0003 tells why these.

A request `{_id: "<reward>:<user>", public_id, user_key, status, op?}` has in `op: {id, delta}` the
change of stock that is not finished yet. A reward `{stock_left, ops, fenced}` has in `ops` markers
of the changes that its stock contains, and in `fenced` the IDs of those that it must not accept.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from event.ids import prefix
from event.records import Markers, Op, Request
from event.states import WORKING
from shared.storage.mongo import Database, Document, Index
from shared.times import now, to_text


class ClaimRepository:
    """Requests, and the stock of the rewards that they change."""

    def __init__(self, database: Database) -> None:
        self._requests = database["requests"]
        self._rewards = database["rewards"]
        self.indexes: tuple[Index, ...] = (
            (self._rewards, [("last_op_at", -1)], {}),
            (self._requests, [("user_key", 1)], {"unique": True}),
            (self._requests, [("public_id", 1)], {"unique": True}),
            (self._requests, [("op.id", 1)], {"sparse": True}),
            (self._requests, [("user_id", 1), ("public_id", -1)], {}),
            (self._requests, [("reward_id", 1), ("status", 1)], {}),
            (self._requests, [("event_id", 1), ("public_id", -1)], {}),
            (self._requests, [("status", 1), ("public_id", -1)], {}),
            (self._requests, [("decided_at", 1)], {}),
        )

    async def add_request(self, request: Request) -> None:
        """Insert a request; DuplicateKey if the user has requested the reward or used the key."""
        await self._requests.insert_one({"decided_at": None, **request.document()})

    async def request(self, request_id: str) -> Request | None:
        """The request with this public ID, None if there is none."""
        return await self._find({"public_id": request_id})

    async def by_key(self, user_key: str) -> Request | None:
        """The request that was made with this key ("<user>:<Idempotency-Key>")."""
        return await self._find({"user_key": user_key})

    async def of_user(self, reward_id: str, user_id: str) -> Request | None:
        """The user's request for the reward, None if there is none."""
        return await self._find({"_id": f"{reward_id}:{user_id}"})

    async def _find(self, where: Mapping[str, Any]) -> Request | None:
        return Request.found(await self._requests.find_one(where))

    async def list_requests(
        self, filters: Mapping[str, Any], after: str | None, limit: int
    ) -> list[Request]:
        """Requests, newest first; with `after` only those before that public ID.

        Filters: `user_id`, `event_id`, `reward_id`, `status`; the times `created_from` and
        `created_to`. Those that are None do not count.
        """
        where: Document = {
            name: filters[name]
            for name in ("user_id", "event_id", "reward_id", "status")
            if filters.get(name)
        }
        if where.get("status") == "pending":
            where["status"] = {"$in": ["pending", WORKING]}
        # an ID begins with its time, so one index serves order, paging and period
        below = [after] if after else []
        if until := filters.get("created_to"):
            below.append(prefix(until))
        bounds = {"$lt": min(below)} if below else {}
        if since := filters.get("created_from"):
            bounds["$gte"] = prefix(since)
        if bounds:
            where["public_id"] = bounds
        newest_first = [("public_id", -1)]
        return Request.read_all(await self._requests.find(where, sort=newest_first, limit=limit))

    async def move_stock(self, reward_id: str, op: Op) -> bool:
        """Change the stock and set the marker of `op` in one write; False if sold out or fenced.

        May only be called by the process that made `op`, and only once.
        """
        where: Document = {"_id": reward_id, f"fenced.{op.id}": {"$exists": False}}
        if op.delta < 0:
            where["stock_left"] = {"$gte": -op.delta}
        marked = {f"ops.{op.id}": 1, "last_op_at": _stamp()}
        change = {"$inc": {"stock_left": op.delta}, "$set": marked}
        return (await self._rewards.update_one(where, change)).matched_count == 1

    async def fence(self, reward_id: str, op: str) -> bool:
        """Prevent `op` from ever changing the stock; False if it has changed it already."""
        where = {"_id": reward_id, f"ops.{op}": {"$exists": False}}
        change = {"$set": {f"fenced.{op}": 1, "last_op_at": _stamp()}}
        return (await self._rewards.update_one(where, change)).matched_count == 1

    async def finish(self, request: Request, op: str, **change: Any) -> Request | None:
        """Remove `op` after its stock was changed, and set the fields of `change`; the result.

        None if the request's work is not `op` any more, as another process has done it.
        """
        update: Document = {"$unset": {"op": ""}}
        if change:
            update["$set"] = Request.stored(**change)
        found = await self._requests.find_one_and_update(_unfinished(request, op), update)
        return Request.found(found)

    async def reissue(self, request: Request, op: str, new: str) -> bool:
        """Replace the ID of unfinished work, after the old one was fenced; False if it is done."""
        found = await self._requests.update_one(_unfinished(request, op), {"$set": {"op.id": new}})
        return found.matched_count == 1

    async def abandon(self, request: Request, op: str) -> bool:
        """Delete a request that got no stock, so that it can be made again; False if it is gone."""
        where = {**_unfinished(request, op), "status": WORKING}
        return (await self._requests.delete_one(where)).deleted_count == 1

    async def decide(self, request: Request, **change: Any) -> Request | None:
        """Set these fields of a pending request; None if it is not pending any more."""
        pending, update = {"_id": request.key, "status": "pending"}, Request.stored(**change)
        return Request.found(await self._requests.find_one_and_update(pending, {"$set": update}))

    async def unfinished(self, before: datetime | None = None, limit: int = 500) -> list[Request]:
        """Requests with unfinished work that began before this time (None: any), oldest first."""
        where = {"op.id": {"$lt": prefix(before) if before else "~"}}
        return Request.read_all(await self._requests.find(where, sort=[("op.id", 1)], limit=limit))

    async def working_ops(self, ops: Collection[str]) -> set[str]:
        """Those of `ops` that are unfinished, so their markers are still needed."""
        found = await self._requests.find({"op.id": {"$in": list(ops)}}, {"op": 1})
        return {row["op"]["id"] for row in found}

    async def touched_rewards(self, limit: int = 200) -> list[Markers]:
        """The markers and fences of the `limit` rewards whose stock changed last."""
        touched, latest_first = {"last_op_at": {"$gt": ""}}, [("last_op_at", -1)]
        shown = {"ops": 1, "fenced": 1}
        return [
            Markers(row["_id"], frozenset(row.get("ops") or ()), frozenset(row.get("fenced") or ()))
            for row in await self._rewards.find(touched, shown, sort=latest_first, limit=limit)
        ]

    async def forget_markers(
        self, reward_id: str, ops: Collection[str], fenced: Collection[str]
    ) -> None:
        names = [f"ops.{op}" for op in ops] + [f"fenced.{op}" for op in fenced]
        if names:
            change = {"$unset": dict.fromkeys(names, "")}
            await self._rewards.update_one({"_id": reward_id}, change)


def _unfinished(request: Request, op: str) -> Document:
    return {"_id": request.key, "op.id": op}


def _stamp() -> str:
    return to_text(now())
