"""The paths of auth."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from auth import schemas
from auth.deps import Deps
from auth.records import User
from auth.service import Accounts
from auth.sessions import Tokens
from plainview.client_address import client_address
from shared.tokens import Principal, Role
from shared.web.body_limit import SMALL_BODY
from shared.web.security import ANY_ROLE, PUBLIC, Require, ServiceRoute

router = APIRouter(
    prefix="/api/v1/auth", tags=["auth"], route_class=ServiceRoute, max_body_size=SMALL_BODY
)
keys_router = APIRouter(tags=["auth"], route_class=ServiceRoute, max_body_size=SMALL_BODY)


async def _accounts(request: Request) -> Accounts:
    deps: Deps = request.app.state.deps
    return deps.accounts


async def _address(request: Request) -> str:
    return client_address(request.scope, request.app.state.deps.trusted_proxies)


AccountsDep = Annotated[Accounts, Depends(_accounts)]
Address = Annotated[str, Depends(_address)]
AnyUser = Annotated[Principal, Depends(Require(*ANY_ROLE))]
Admin = Annotated[Principal, Depends(Require(Role.ADMIN))]
UserId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
UserOut = schemas.UserOut


@router.post("/register", status_code=201, response_model=UserOut, openapi_extra=PUBLIC)
async def register(body: schemas.Registration, accounts: AccountsDep) -> User:
    """Become a user."""
    return await accounts.register(body.email, body.password.get_secret_value(), body.display_name)


@router.post("/login", openapi_extra=PUBLIC)
async def login(
    body: schemas.Login, accounts: AccountsDep, address: Address, response: Response
) -> Tokens:
    """Exchange e-mail address and password for tokens."""
    response.headers["Cache-Control"] = "no-store"
    return await accounts.login(body.email, body.password.get_secret_value(), address)


@router.post("/refresh", openapi_extra=PUBLIC)
async def refresh(body: schemas.Refresh, accounts: AccountsDep, response: Response) -> Tokens:
    """Exchange a refresh token for new tokens; works once."""
    response.headers["Cache-Control"] = "no-store"
    return await accounts.sessions.refresh(body.refresh_token.get_secret_value())


@router.post("/logout", status_code=204, openapi_extra=PUBLIC)
async def logout(body: schemas.Refresh, accounts: AccountsDep) -> None:
    """End the session of a refresh token."""
    await accounts.sessions.end(body.refresh_token.get_secret_value())


@router.get("/me", response_model=UserOut)
async def me(who: AnyUser, accounts: AccountsDep) -> User:
    """The user whose access token this is."""
    return await accounts.me(who.user_id)


@router.post("/password", status_code=204)
async def change_password(
    body: schemas.PasswordChange, who: AnyUser, accounts: AccountsDep, address: Address
) -> None:
    """Change the password; ends all sessions."""
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    await accounts.change_password(who.user_id, current, new, address)


@router.put("/users/{id}/roles", response_model=UserOut)
async def set_roles(
    id: UserId, body: schemas.RoleChange, who: Admin, accounts: AccountsDep
) -> User:
    """Give a user other roles; somebody has to remain who administers."""
    return await accounts.set_roles(who, id, body.roles)


@keys_router.get("/.well-known/jwks.json", openapi_extra=PUBLIC)
async def jwks(accounts: AccountsDep, response: Response) -> dict[str, Any]:
    """The public keys that verify access tokens (RFC 7517)."""
    response.headers["Cache-Control"] = "public, max-age=60"
    return accounts.sessions.issuer.jwks()
