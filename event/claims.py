"""Claims without transactions: each write to one document leaves what is needed to recover.

A claim is three writes: insert the request with an `op` (its unfinished change of stock), change
the reward's stock and mark the `op` there, finish the request by removing the `op`. A process may
die after any of them. `recover` then finishes or undoes the claim; before that it sets a fence in
the reward, so that a late write of the dead process cannot take stock a second time.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from event import signals
from event.claim_repository import DuplicateKey
from event.eligibility import Eligibility
from event.errors import AlreadyRequested, InFlight, KeyMismatch, Refused, SoldOut
from event.ids import minted_at, new_id
from event.reasons import Reason
from event.records import WORKING, Op, Request, Reward
from event.store import Store
from event.times import from_text, now, to_text
from plainview import get_logger
from shared.errors import Conflict, NotFound, Timeout, Unavailable

log = get_logger("business")

# A write that arrives even later than this finds no fence any more and could count twice.
FENCE_KEPT = timedelta(hours=1)
MAX_GIVEN_UP = 1000  # user keys; further ones are recovered when they are stale


class Claims:
    """Claims, decisions on them, and the recovery of unfinished ones."""

    def __init__(self, store: Store, zone: ZoneInfo, stale_s: float) -> None:
        self._events, self._requests = store.events, store.requests
        self._eligibility = Eligibility(store, zone)
        self._stale = timedelta(seconds=stale_s)
        self._given_up: set[str] = set()

    async def claim(self, user_id: str, reward_id: str, key: str) -> Request:
        """Claim a reward; the new request, or for a repeated `key` the same reply as before.

        Raises NotFound, a Refused (nothing is stored then), InFlight or KeyMismatch.
        """
        try:
            reward = await self._events.reward(reward_id)
            if reward is None:
                raise NotFound("There is no such reward")
            return await self._claim(user_id, reward, f"{user_id}:{key}")
        except Refused as refusal:
            signals.refused(refusal.reason)
            log.info(
                "reward.refused",
                event_id=reward.event_id if reward else "",
                reward_id=reward_id,
                status="refused",
                reason=refusal.code,
            )
            raise
        except (Timeout, Unavailable):
            signals.refused(Reason.TECHNICAL)
            raise

    async def _claim(self, user_id: str, reward: Reward, user_key: str) -> Request:
        if reward.stock_left < 1:
            return await self._sold_out(reward.id, user_id, user_key)
        refusal = await self._eligibility.refusal(user_id, reward)
        if refusal is not None:
            reply = await self._earlier_reply(reward.id, user_id, user_key)
            if reply is None:
                raise refusal
            return reply
        at = now()
        op = Op(new_id(at), -1)
        request = Request(
            id=new_id(at),
            user_key=user_key,
            event_id=reward.event_id,
            reward_id=reward.id,
            user_id=user_id,
            approval=reward.approval,
            status=WORKING,
            reason=Reason.NONE,
            created_at=to_text(at),
            op=op,
        )
        try:
            await self._requests.add_request(request)
        except DuplicateKey:
            reply = await self._earlier_reply(reward.id, user_id, user_key)
            if reply is None:
                raise InFlight("The request was being withdrawn") from None
            return reply
        except (Timeout, Unavailable):
            self._give_up(user_key)
            raise
        signals.key_used("first")
        try:
            return await self._reserve(request, op)
        except (Timeout, Unavailable):
            self._give_up(user_key)
            raise

    def _give_up(self, user_key: str) -> None:
        # This process sends no more writes for this claim, so it can be recovered at once and
        # not only when it is stale.
        if len(self._given_up) < MAX_GIVEN_UP:
            self._given_up.add(user_key)

    async def _reserve(self, request: Request, op: Op) -> Request:
        if await self._requests.move_stock(request.reward_id, op):
            done = await self._finish(request, op)
            if done is not None:
                return done
        elif await self._requests.abandon(request, op.id):
            raise SoldOut("Nothing is left")
        # Another process took the claim over, as it seemed to be abandoned.
        reply = await self._earlier_reply(request.reward_id, request.user_id, request.user_key)
        if reply is None:
            raise InFlight("The request is being worked on")
        return reply

    async def _finish(self, request: Request, op: Op) -> Request | None:
        if op.delta > 0:
            return await self._requests.finish(request, op.id, {})
        automatic = request.approval == "automatic"
        status = "approved" if automatic else "pending"
        change = {"status": status, "decided_at": to_text(now()) if automatic else None}
        done = await self._requests.finish(request, op.id, change)
        if done is not None:
            signals.requested(status)
            log.info(
                "reward.claimed",
                event_id=done.event_id,
                reward_id=done.reward_id,
                reward_request_id=done.id,
                status=status,
            )
        return done

    async def _sold_out(self, reward_id: str, user_id: str, user_key: str) -> Request:
        """The reply to a claim of a reward that is sold out: two reads in all and no write.

        It is kept cheap because most claims of a popular reward end here. The request is looked
        up after the stock was read: an earlier attempt with this key may have taken the last item,
        and then the answer is that attempt's reply. Conditions and other uses of the key are not
        checked, as they could not change that nothing is left.
        """
        request = await self._requests.of_user(reward_id, user_id)
        if request is None:
            raise SoldOut("Nothing is left")
        if request.user_key != user_key:
            raise await self._other_key(request)
        return await self._reply(request)

    async def _earlier_reply(self, reward_id: str, user_id: str, user_key: str) -> Request | None:
        """The earlier reply to this key; None if the user has not requested the reward at all.

        AlreadyRequested under another key; KeyMismatch if the key was for another reward.
        """
        request = await self._requests.by_key(user_key)
        if request is None:
            other = await self._requests.of_user(reward_id, user_id)
            if other is not None:
                raise await self._other_key(other)
            return None
        if request.reward_id != reward_id:
            signals.key_used("mismatch")
            raise KeyMismatch("The key was used for another request")
        return await self._reply(request)

    async def _other_key(self, request: Request) -> AlreadyRequested:
        """What to raise where the user's request has another key; InFlight if it is unfinished.

        An unfinished one may still find nothing left and be deleted, so it is not told as made.
        """
        if request.status == WORKING:
            await self._settled(request)
        return AlreadyRequested("You have requested this reward before")

    async def _reply(self, request: Request) -> Request:
        """The reply that the request was first answered with; InFlight if it is unfinished."""
        if request.status == WORKING:
            request = await self._settled(request)
        signals.key_used("replayed")
        if request.approval == "automatic":
            return request
        # a repetition gets the first reply, so a later decision is left out
        return replace(request, status="pending", reason=Reason.NONE, decided_at=None)

    async def _settled(self, request: Request) -> Request:
        """The finished request, after recovering it if its process gave up; else InFlight."""
        user_key = request.user_key
        stale = request.op is not None and now() - minted_at(request.op.id) > self._stale
        if stale or user_key in self._given_up:
            await self.recover(request)
            self._given_up.discard(user_key)
            done = await self._requests.by_key(user_key)
            if done is not None and done.status != WORKING:
                return done
        signals.key_used("in_flight")
        raise InFlight("Your request for this reward is being worked on")

    async def decide(self, request_id: str, status: str, reason: str, operator: str) -> Request:
        """Approve or reject a pending request; a rejection returns its stock.

        The same decision again changes nothing. Raises NotFound, InFlight, and Conflict if it was
        decided otherwise.
        """
        request = await self._requests.request(request_id)
        if request is None:
            raise NotFound("There is no such reward request")
        if request.status == WORKING:
            raise InFlight("The request is being worked on")
        at = now()
        change: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "decided_at": to_text(at),
            "decided_by": operator,
        }
        if status == "rejected":
            change["op"] = {"id": new_id(at), "delta": 1}
        decided = await self._requests.decide(request, change)
        if decided is None:
            request = await self._requests.request(request_id) or request
            if request.status != status or request.decided_by is None:
                raise Conflict("It was decided before", code="already_decided")
            return request
        signals.decided(status, (at - from_text(decided.created_at)).total_seconds())
        log.info(
            "reward.decided",
            event_id=decided.event_id,
            reward_id=decided.reward_id,
            reward_request_id=request_id,
            status=status,
        )
        if decided.op and await self._requests.move_stock(decided.reward_id, decided.op):
            await self._finish(decided, decided.op)
        return decided

    async def recover(self, request: Request) -> Literal["finished", "undone"] | None:
        """Finish or undo an unfinished request; None if there is nothing to do or not yet."""
        op = request.op
        if op is None:
            return None
        if await self._requests.fence(request.reward_id, op.id):
            # The old op has not changed the stock, and the fence keeps it from doing so. This
            # process goes on with an op of its own: an op is only sent by the process that made
            # it, else a late write could come after its marker was removed and count again.
            old, op = op, replace(op, id=new_id())
            if not await self._requests.reissue(request, old.id, op.id):
                return None
            if not await self._requests.move_stock(request.reward_id, op):
                # A claim is sold out by now and had no reply yet, so it can be deleted. Returning
                # stock has to happen and is left for the next turn.
                undone = op.delta < 0 and await self._requests.abandon(request, op.id)
                return self._recovered(request, "undone") if undone else None
        done = await self._finish(request, op)
        return self._recovered(request, "finished") if done is not None else None

    def _recovered(
        self, request: Request, outcome: Literal["finished", "undone"]
    ) -> Literal["finished", "undone"]:
        signals.recovered(outcome)
        log.warning("claim.recovered", reward_request_id=request.id, outcome=outcome)
        return outcome

    async def recover_stale(self) -> None:
        """Recover the requests that this process gave up, and all that are stale."""
        for user_key in list(self._given_up):
            given_up = await self._requests.by_key(user_key)
            if given_up is not None and given_up.status == WORKING:
                await self.recover(given_up)
            self._given_up.discard(user_key)
        for request in await self._requests.unfinished(now() - self._stale):
            await self.recover(request)

    async def sweep(self) -> None:
        """Remove markers of finished requests, and fences older than `FENCE_KEPT`."""
        expired = now() - FENCE_KEPT
        for reward in await self._requests.touched_rewards():
            # The markers were read before the requests are: one that no request needs after that
            # will never be needed again.
            fenced = [op for op in reward.fenced if minted_at(op) < expired]
            if reward.ops or fenced:
                settled = reward.ops - await self._requests.working_ops(reward.ops)
                await self._requests.forget_markers(reward.reward_id, settled, fenced)
