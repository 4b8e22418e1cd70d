"""Claims without transactions: each write to one document leaves what is needed to recover.

A claim is three writes: insert the request with an `op` (its unfinished change of stock), change
the reward's stock and mark the `op` there, finish the request by removing the `op`. A process may
die after any of them; `recovery` then finishes or undoes the claim.
"""

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from event import signals
from event.conditions import Eligibility
from event.errors import AlreadyRequested, InFlight, KeyMismatch, Refused, SoldOut
from event.ids import new_id
from event.records import Op, Request, Reward
from event.recovery import Recovery
from event.states import WORKING, Reason, RequestStatus
from event.store import Store
from plainview import get_logger
from shared.errors import Conflict, NotFound, Timeout, Unavailable
from shared.storage.mongo import DuplicateKey
from shared.times import now

log = get_logger("business")


class Claims:
    """Claims, and decisions on them; `recovery` takes up those that are unfinished."""

    def __init__(self, store: Store, zone: ZoneInfo, stale_s: float) -> None:
        self._events, self._requests = store.events, store.requests
        self._eligibility = Eligibility(store, zone)
        self.recovery = Recovery(store, stale_s)

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
            created_at=at,
            op=op,
        )
        try:
            await self._requests.add_request(request)
            signals.key_used("first")
            return await self._reserve(request, op)
        except DuplicateKey:  # only inserts raise it
            reply = await self._earlier_reply(reward.id, user_id, user_key)
            if reply is None:
                raise InFlight("The request was being withdrawn") from None
            return reply
        except (Timeout, Unavailable):
            self.recovery.give_up(user_key)
            raise

    async def _reserve(self, request: Request, op: Op) -> Request:
        if await self._requests.move_stock(request.reward_id, op):
            done = await self.recovery.finish(request, op)
            if done is not None:
                return done
        elif await self._requests.abandon(request, op.id):
            raise SoldOut("Nothing is left")
        # Another process took the claim over, as it seemed to be abandoned.
        reply = await self._earlier_reply(request.reward_id, request.user_id, request.user_key)
        if reply is None:
            raise InFlight("The request is being worked on")
        return reply

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
        await self._finished(request)
        return AlreadyRequested("You have requested this reward before")

    async def _reply(self, request: Request) -> Request:
        """The reply that the request was first answered with; InFlight if it is unfinished."""
        request = await self._finished(request)
        signals.key_used("replayed")
        if request.approval == "automatic":
            return request
        # a repetition gets the first reply, so a later decision is left out
        return replace(request, status=RequestStatus.PENDING, reason=Reason.NONE, decided_at=None)

    async def _finished(self, request: Request) -> Request:
        done = request if request.status != WORKING else await self.recovery.settled(request)
        if done is None:
            signals.key_used("in_flight")
            raise InFlight("Your request for this reward is being worked on")
        return done

    async def decide(
        self, request_id: str, status: RequestStatus, reason: str, operator: str
    ) -> Request:
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
        change: dict[str, Any] = {"status": status, "reason": reason}
        change |= {"decided_at": at, "decided_by": operator}
        if status == RequestStatus.REJECTED:
            change["op"] = Op(new_id(at), 1)
        decided = await self._requests.decide(request, **change)
        if decided is None:
            request = await self._requests.request(request_id) or request
            if request.status != status or request.decided_by is None:
                raise Conflict("It was decided before", code="already_decided")
            return request
        signals.decided(status, (at - decided.created_at).total_seconds())
        log.info(
            "reward.decided",
            event_id=decided.event_id,
            reward_id=decided.reward_id,
            reward_request_id=request_id,
            status=status,
        )
        if decided.op and await self._requests.move_stock(decided.reward_id, decided.op):
            await self.recovery.finish(decided, decided.op)
        return decided
