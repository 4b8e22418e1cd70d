"""Whether a user may claim a reward now, apart from whether any stock is left."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from event.conditions import PARTICIPATIONS, Facts, evaluate, is_open
from event.errors import ConditionUnmet, EventNotActive, ParticipationRequired, Refused
from event.records import Member, Reward
from event.states import EventStatus
from event.store import Store
from shared.errors import NotFound
from shared.times import now


class Eligibility:
    """Reads what is needed to judge a claim, and judges it."""

    def __init__(self, store: Store, zone: ZoneInfo) -> None:
        self._store = store
        self._zone = zone

    async def refusal(self, user_id: str, reward: Reward) -> Refused | None:
        """The reason to refuse the claim, as an error to raise; None if the user may claim.

        Raises NotFound if the event is a draft, as users do not see drafts.
        """
        event, participation = await asyncio.gather(
            self._store.events.event(reward.event_id),
            self._store.events.participation(reward.event_id, user_id),
        )
        at = now()
        if event is not None and event.status == EventStatus.DRAFT:
            raise NotFound("There is no such reward")
        if event is None or not is_open(event, at):
            return EventNotActive("The event is not active now")
        if participation is None:
            return ParticipationRequired("Take part in the event first")
        if event.conditions:
            facts = await self._facts(user_id, at, event.conditions)
            verdicts = evaluate(event.conditions, facts)
            if not all(verdict.met for verdict in verdicts):
                progress = [verdict.document() for verdict in verdicts]
                return ConditionUnmet("Not all conditions are met", conditions=progress)
        return None

    async def _facts(
        self, user_id: str, at: datetime, conditions: Sequence[Mapping[str, Any]]
    ) -> Facts:
        member = await self._store.members.member(user_id) or Member(id=user_id)
        counts = any(condition["type"] == PARTICIPATIONS for condition in conditions)
        return Facts(
            now=at,
            today=at.astimezone(self._zone).date(),
            registered_at=member.registered_at,
            login_days={datetime.strptime(day, "%Y%m%d").date() for day in member.login_days},
            participations=await self._store.events.participations_of(user_id) if counts else 0,
        )
