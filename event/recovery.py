"""Finishes or undoes the claims and rejections whose process died, or lost a reply, in between.

What is left to do stands in the request's `op`. Before anything else a fence is set in the reward,
so that a late write of the process that began it cannot change the stock a second time.
"""

from dataclasses import replace
from datetime import timedelta

from event import signals
from event.ids import minted_at, new_id
from event.records import Op, Request
from event.states import WORKING, RequestStatus
from event.store import Store
from plainview import get_logger
from shared.times import now

log = get_logger("business")

# A write that arrives even later than this finds no fence any more and could count twice.
FENCE_KEPT = timedelta(hours=1)
MAX_GIVEN_UP = 1000  # user keys; further ones are recovered when they are stale


class Recovery:
    """Recovers what this process gave up, and what is unfinished for `stale_s` seconds."""

    def __init__(self, store: Store, stale_s: float) -> None:
        self._requests = store.requests
        self._stale = timedelta(seconds=stale_s)
        self._given_up: set[str] = set()

    def give_up(self, user_key: str) -> None:
        """Note that this process sends no more writes for the claim of this key.

        So it can be recovered at once and not only when it is stale.
        """
        if len(self._given_up) < MAX_GIVEN_UP:
            self._given_up.add(user_key)

    async def finish(self, request: Request, op: Op) -> Request | None:
        """Finish a request whose stock was changed; None if another process has done it."""
        if op.delta > 0:  # a rejection, which is decided already
            return await self._requests.finish(request, op.id)
        automatic = request.approval == "automatic"
        status = RequestStatus.APPROVED if automatic else RequestStatus.PENDING
        decided_at = now() if automatic else None
        done = await self._requests.finish(request, op.id, status=status, decided_at=decided_at)
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

    async def settled(self, request: Request) -> Request | None:
        """The finished request, after recovering it if that is due; None if it is worked on."""
        user_key = request.user_key
        stale = request.op is not None and now() - minted_at(request.op.id) > self._stale
        if not stale and user_key not in self._given_up:
            return None
        await self.recover(request)
        self._given_up.discard(user_key)
        done = await self._requests.by_key(user_key)
        return None if done is None or done.status == WORKING else done

    async def recover(self, request: Request) -> None:
        """Finish or undo an unfinished request, unless another process is about to."""
        op = request.op
        if op is None:
            return
        if await self._requests.fence(request.reward_id, op.id):
            # The old op has not changed the stock, and the fence keeps it from doing so. This
            # process goes on with an op of its own: an op is only sent by the process that made
            # it, else a late write could come after its marker was removed and count again.
            old, op = op, replace(op, id=new_id())
            if not await self._requests.reissue(request, old.id, op.id):
                return
            if not await self._requests.move_stock(request.reward_id, op):
                # A claim is sold out by now and had no reply yet, so it can be deleted. Returning
                # stock has to happen and is left for the next turn.
                if op.delta < 0 and await self._requests.abandon(request, op.id):
                    self._recovered(request, "undone")
                return
        if await self.finish(request, op) is not None:
            self._recovered(request, "finished")

    def _recovered(self, request: Request, outcome: signals.Recovered) -> None:
        signals.recovered(outcome)
        log.warning("claim.recovered", reward_request_id=request.id, outcome=outcome)

    async def turn(self) -> None:
        """Recover and tidy up; the reconciler repeats this."""
        await self.recover_stale()
        await self.sweep()

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
