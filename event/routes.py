"""The HTTP interface: paths, roles and shapes. A request of another user is always a 404."""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.requests import Request as HttpRequest

from event import schemas
from event.claims import Claims
from event.errors import MissingKey
from event.records import Event, Participation, Request, Reward
from event.schemas import Id, Moment
from event.service import Page, Service
from event.times import to_text
from shared.tokens import Principal, Role
from shared.web.body_limit import SMALL_BODY, BoundedRoute
from shared.web.security import ANY_ROLE, gateway_doc, require

Handler = TypeVar("Handler", bound=Callable[..., Any])
router = APIRouter(
    prefix="/api/v1", tags=["event"], route_class=BoundedRoute, max_body_size=SMALL_BODY
)

EVENT_BODY = 32 * 1024  # bytes: a description of 2,000 characters that are all JSON escapes
STAFF = (Role.OPERATOR, Role.AUDITOR, Role.ADMIN)
OPERATORS = (Role.OPERATOR, Role.ADMIN)
Member = Annotated[Principal, Depends(require(Role.USER))]
Operator = Annotated[Principal, Depends(require(*OPERATORS))]
Staff = Annotated[Principal, Depends(require(*STAFF))]
Anyone = Annotated[Principal, Depends(require(*ANY_ROLE))]


# Dependencies are coroutines: FastAPI hands a plain function to a worker thread, which costs more
# than all the rest of a small request.
async def _service(request: HttpRequest) -> Service:
    return cast(Service, request.app.state.deps.service)


async def _claims(request: HttpRequest) -> Claims:
    return cast(Claims, request.app.state.deps.claims)


Services = Annotated[Service, Depends(_service)]
AllClaims = Annotated[Claims, Depends(_claims)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=200)]
Text = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


async def _key(idempotency_key: Annotated[str | None, Header(max_length=200)] = None) -> str:
    if not _KEY.fullmatch(idempotency_key or ""):
        raise MissingKey("Idempotency-Key has to be 1 to 128 visible ASCII characters")
    return cast(str, idempotency_key)


Key = Annotated[str, Depends(_key)]


def _route(
    method: str,
    path: str,
    roles: Iterable[Role],
    reply: Any,
    max_body_size: int = SMALL_BODY,
    **more: Any,
) -> Callable[[Handler], Handler]:
    return router.api_route(
        path,
        methods=[method],
        response_model=reply,
        openapi_extra=gateway_doc(*roles, max_body=max_body_size),
        max_body_size=max_body_size,
        **more,
    )


@_route("POST", "/events", OPERATORS, schemas.EventOut, status_code=201, max_body_size=EVENT_BODY)
async def create_event(given: schemas.EventIn, _who: Operator, service: Services) -> Event:
    """Make an event."""
    return await service.create_event(given)


@_route("GET", "/events", ANY_ROLE, schemas.Page[schemas.EventOut])
async def list_events(
    who: Anyone,
    service: Services,
    status: schemas.EventStatus | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[Event]:
    """Events, newest first; users see no drafts."""
    return await service.list_events(status, cursor, limit, drafts=_is_staff(who))


@_route("GET", "/events/{id}", ANY_ROLE, schemas.EventOut)
async def get_event(id: Id, who: Anyone, service: Services) -> Event:
    """One event."""
    return await service.event(id, drafts=_is_staff(who))


@_route("PATCH", "/events/{id}", OPERATORS, schemas.EventOut, max_body_size=EVENT_BODY)
async def change_event(
    id: Id, given: schemas.EventChange, _who: Operator, service: Services
) -> Event:
    """Change title, description, dates or status (draft, active, closed, in this order)."""
    return await service.change_event(id, given)


@_route(
    "POST",
    "/events/{id}/participations",
    [Role.USER],
    schemas.ParticipationOut,
    status_code=201,
    responses={200: {"model": schemas.ParticipationOut, "description": "You took part already"}},
)
async def join(id: Id, who: Member, service: Services, response: Response) -> Participation:
    """Take part in an event."""
    participation, joined = await service.join(id, who.user_id, drafts=_is_staff(who))
    response.status_code = 201 if joined else 200
    return participation


@_route("GET", "/events/{id}/participations", STAFF, schemas.Page[schemas.ParticipationOut])
async def participations(
    id: Id, _who: Staff, service: Services, limit: Limit = 20, cursor: Cursor = None
) -> Page[Participation]:
    """Who takes part in an event, in the order of user IDs."""
    return await service.participations(id, cursor, limit)


@_route("POST", "/events/{id}/rewards", OPERATORS, schemas.RewardOut, status_code=201)
async def create_reward(
    id: Id, given: schemas.RewardIn, _who: Operator, service: Services
) -> Reward:
    """Add a reward to an event."""
    return await service.create_reward(id, given)


@_route("GET", "/events/{id}/rewards", ANY_ROLE, schemas.Rewards)
async def rewards(id: Id, who: Anyone, service: Services) -> Page[Reward]:
    """The rewards of an event."""
    return Page(await service.rewards_of(id, drafts=_is_staff(who)))


@_route("GET", "/rewards/{id}", ANY_ROLE, schemas.RewardOut)
async def get_reward(id: Id, who: Anyone, service: Services) -> Reward:
    """One reward."""
    return await service.reward(id, drafts=_is_staff(who))


@_route("PATCH", "/rewards/{id}", OPERATORS, schemas.RewardOut)
async def restock(id: Id, given: schemas.StockIn, _who: Operator, service: Services) -> Reward:
    """Set the total stock; what is granted or pending stays."""
    return await service.restock(id, given.stock)


@_route("POST", "/rewards/{id}/requests", [Role.USER], schemas.RequestOut, status_code=201)
async def claim(
    id: Id, who: Member, claims: AllClaims, key: Key, _body: schemas.ClaimIn | None = None
) -> Request:
    """Request a reward. A repetition with the same Idempotency-Key gets the same reply."""
    return await claims.claim(who.user_id, id, key)


@_route("GET", "/reward-requests", ANY_ROLE, schemas.Page[schemas.RequestOut])
async def history(  # noqa: PLR0917 - FastAPI gives them by name
    who: Anyone,
    service: Services,
    status: schemas.RequestStatus | None = None,
    event_id: Text = None,
    reward_id: Text = None,
    user_id: Text = None,
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
        "created_from": to_text(created_from) if created_from else None,
        "created_to": to_text(created_to) if created_to else None,
    }
    return await service.history(filters, cursor, limit)


@_route("GET", "/reward-requests/{id}", ANY_ROLE, schemas.RequestOut)
async def get_request(id: Id, who: Anyone, service: Services) -> Request:
    """One reward request."""
    return await service.request(id, _owner(who))


@_route("PATCH", "/reward-requests/{id}", OPERATORS, schemas.RequestOut)
async def decide(id: Id, given: schemas.DecisionIn, who: Operator, claims: AllClaims) -> Request:
    """Approve or reject a pending request; a rejection returns its stock."""
    return await claims.decide(id, given.status, given.reason, who.user_id)


def _is_staff(who: Principal) -> bool:
    return not who.roles.isdisjoint(STAFF)


def _owner(who: Principal) -> str | None:
    return None if _is_staff(who) else who.user_id
