"""The HTTP interface: paths, roles and shapes. A request of another user is always a 404."""

import re
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.requests import Request as HttpRequest

from event import schemas
from event.claims import Claims
from event.deps import Deps
from event.errors import MissingKey
from event.records import Event, Participation, Request, Reward
from event.schemas import Id, Moment
from event.service import Page, Service
from event.states import EventStatus, RequestStatus
from shared.tokens import Principal, Role
from shared.web.body_limit import SMALL_BODY
from shared.web.security import ANY_ROLE, Require, ServiceRoute

router = APIRouter(
    prefix="/api/v1", tags=["event"], route_class=ServiceRoute, max_body_size=SMALL_BODY
)

EVENT_BODY = 32 * 1024  # bytes: a description of 2,000 characters that are all JSON escapes
STAFF = (Role.OPERATOR, Role.AUDITOR, Role.ADMIN)
User = Annotated[Principal, Depends(Require(Role.USER))]
Operator = Annotated[Principal, Depends(Require(Role.OPERATOR, Role.ADMIN))]
Staff = Annotated[Principal, Depends(Require(*STAFF))]
Anyone = Annotated[Principal, Depends(Require(*ANY_ROLE))]


# Dependencies are coroutines: FastAPI hands a plain function to a worker thread, which costs more
# than all the rest of a small request.
async def _service(request: HttpRequest) -> Service:
    deps: Deps = request.app.state.deps
    return deps.service


async def _claims(request: HttpRequest) -> Claims:
    deps: Deps = request.app.state.deps
    return deps.claims


ServiceDep = Annotated[Service, Depends(_service)]
ClaimsDep = Annotated[Claims, Depends(_claims)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=200)]
IdFilter = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


async def _key(idempotency_key: Annotated[str | None, Header(max_length=200)] = None) -> str:
    if not _KEY.fullmatch(idempotency_key or ""):
        raise MissingKey("Idempotency-Key has to be 1 to 128 visible ASCII characters")
    return cast(str, idempotency_key)


Key = Annotated[str, Depends(_key)]


@router.post("/events", status_code=201, response_model=schemas.EventOut, max_body_size=EVENT_BODY)
async def create_event(given: schemas.EventIn, _who: Operator, service: ServiceDep) -> Event:
    """Make an event."""
    return await service.create_event(given)


@router.get("/events", response_model=schemas.Page[schemas.EventOut])
async def list_events(
    who: Anyone,
    service: ServiceDep,
    status: EventStatus | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[Event]:
    """Events, newest first; users see no drafts."""
    return await service.list_events(status, cursor, limit, drafts=_is_staff(who))


@router.get("/events/{id}", response_model=schemas.EventOut)
async def get_event(id: Id, who: Anyone, service: ServiceDep) -> Event:
    """One event."""
    return await service.event(id, drafts=_is_staff(who))


@router.patch("/events/{id}", response_model=schemas.EventOut, max_body_size=EVENT_BODY)
async def change_event(
    id: Id, given: schemas.EventChange, _who: Operator, service: ServiceDep
) -> Event:
    """Change title, description, dates or status (draft, active, closed, in this order)."""
    return await service.change_event(id, given)


@router.post(
    "/events/{id}/participations",
    status_code=201,
    response_model=schemas.ParticipationOut,
    responses={200: {"model": schemas.ParticipationOut, "description": "You took part already"}},
)
async def join(id: Id, who: User, service: ServiceDep, response: Response) -> Participation:
    """Take part in an event."""
    participation, joined = await service.join(id, who.user_id, drafts=_is_staff(who))
    response.status_code = 201 if joined else 200
    return participation


@router.get("/events/{id}/participations", response_model=schemas.Page[schemas.ParticipationOut])
async def participations(
    id: Id, _who: Staff, service: ServiceDep, limit: Limit = 20, cursor: Cursor = None
) -> Page[Participation]:
    """Who takes part in an event, in the order of user IDs."""
    return await service.participations(id, cursor, limit)


@router.post("/events/{id}/rewards", status_code=201, response_model=schemas.RewardOut)
async def create_reward(
    id: Id, given: schemas.RewardIn, _who: Operator, service: ServiceDep
) -> Reward:
    """Add a reward to an event."""
    return await service.create_reward(id, given)


@router.get("/events/{id}/rewards", response_model=schemas.Rewards)
async def rewards(id: Id, who: Anyone, service: ServiceDep) -> Page[Reward]:
    """The rewards of an event."""
    return Page(await service.rewards_of(id, drafts=_is_staff(who)))


@router.get("/rewards/{id}", response_model=schemas.RewardOut)
async def get_reward(id: Id, who: Anyone, service: ServiceDep) -> Reward:
    """One reward."""
    return await service.reward(id, drafts=_is_staff(who))


@router.patch("/rewards/{id}", response_model=schemas.RewardOut)
async def restock(id: Id, given: schemas.StockIn, _who: Operator, service: ServiceDep) -> Reward:
    """Set the total stock; what is granted or pending stays."""
    return await service.restock(id, given.stock)


@router.post("/rewards/{id}/requests", status_code=201, response_model=schemas.RequestOut)
async def claim(
    id: Id, who: User, claims: ClaimsDep, key: Key, _body: schemas.ClaimIn | None = None
) -> Request:
    """Request a reward. A repetition with the same Idempotency-Key gets the same reply."""
    return await claims.claim(who.user_id, id, key)


@router.get("/reward-requests", response_model=schemas.Page[schemas.RequestOut])
async def history(  # noqa: PLR0917 - FastAPI gives them by name
    who: Anyone,
    service: ServiceDep,
    status: RequestStatus | None = None,
    event_id: IdFilter = None,
    reward_id: IdFilter = None,
    user_id: IdFilter = None,
    created_from: Moment | None = None,
    created_to: Moment | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[Request]:
    """Reward requests, newest first: users see their own, operators, auditors, admins all."""
    own = _owner(who)
    if own is not None and user_id not in (None, own):
        return Page([])
    filters = {
        "status": status,
        "event_id": event_id,
        "reward_id": reward_id,
        "user_id": own or user_id,
        "created_from": created_from,
        "created_to": created_to,
    }
    return await service.history(filters, cursor, limit)


@router.get("/reward-requests/{id}", response_model=schemas.RequestOut)
async def get_request(id: Id, who: Anyone, service: ServiceDep) -> Request:
    """One reward request."""
    return await service.request(id, _owner(who))


@router.patch("/reward-requests/{id}", response_model=schemas.RequestOut)
async def decide(id: Id, given: schemas.DecisionIn, who: Operator, claims: ClaimsDep) -> Request:
    """Approve or reject a pending request; a rejection returns its stock."""
    return await claims.decide(id, given.status, given.reason, who.user_id)


def _is_staff(who: Principal) -> bool:
    return not who.roles.isdisjoint(STAFF)


def _owner(who: Principal) -> str | None:
    return None if _is_staff(who) else who.user_id
