"""Sessions: what a sign-in gives, and how refresh tokens replace one another."""

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta

from auth import signals
from auth.records import Family, User
from auth.repository import Families, Users
from plainview import bind_user, get_logger
from shared.errors import Conflict, Unauthenticated
from shared.times import now
from shared.tokens import InvalidToken, TokenIssuer

# A token used again within this time comes from a second tab or a retry, later from a thief.
REPEAT_S = 10.0
log = get_logger("security")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in gives; `expires_in` seconds are those of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of users; each ends `days` days after its sign-in at the latest."""

    users: Users
    families: Families
    issuer: TokenIssuer
    days: int = 30

    async def start(self, user: User) -> Tokens:
        secret = secrets.token_urlsafe(32)
        expires_at = now() + timedelta(days=self.days)
        family = Family(secrets.token_hex(16), user.id, user.epoch, _digest(secret), expires_at)
        await self.families.create(family)
        return self._tokens(user, family, secret)

    async def refresh(self, token: str) -> Tokens:
        """Exchange a refresh token, which works once, for new tokens.

        Conflict if it was exchanged less than `REPEAT_S` seconds ago; Unauthenticated and the end
        of the session if it was exchanged earlier; InvalidToken if it is unknown or expired.
        """
        family_id, _, secret = token.partition(".")
        digest = _digest(secret)
        family = await self.families.get(family_id)
        user = await self.users.get(family.user_id) if family else None
        if family is None or user is None or user.disabled or user.epoch != family.epoch:
            raise _invalid("invalid")
        bind_user(user.id)
        if family.expires_at <= now():
            raise _invalid("expired")
        if digest == family.current:
            successor = secrets.token_urlsafe(32)
            recent = {**_recent(family), digest: time.time()}
            if await self.families.rotate(family, _digest(successor), recent):
                signals.refreshed("rotated")
                return self._tokens(user, family, successor)
            family = await self.families.get(family_id)  # another request has rotated it meanwhile
            if family is None:
                raise _invalid("invalid")
        if digest in _recent(family):
            signals.refreshed("repeated")
            raise Conflict("This token was exchanged a moment ago", code="refresh_repeated")
        # The ID of a family is a secret part of its tokens. Whoever sends it has had one of them,
        # so an unknown token with this ID is an old one that was replayed.
        await self.families.delete(family.id)
        signals.refreshed("reused")
        log.warning("refresh_token.reused")
        raise Unauthenticated("This token was used before: sign in again", code="refresh_reused")

    async def end(self, token: str) -> None:
        """End the session of a refresh token, also of an old one; no error if there is none."""
        await self.families.delete(token.partition(".")[0])
        log.info("signed_out")

    def _tokens(self, user: User, family: Family, secret: str) -> Tokens:
        access_token, expires_in = self.issuer.access(user.id, user.roles, user.epoch)
        return Tokens(access_token, f"{family.id}.{secret}", expires_in)


def _digest(secret: str) -> str:
    # Slow hashes are for secrets that can be guessed; these are 256 random bits.
    return hashlib.sha256(secret.encode()).hexdigest()


def _recent(family: Family) -> dict[str, float]:
    return {hashed: at for hashed, at in family.recent.items() if time.time() - at < REPEAT_S}


def _invalid(outcome: signals.Refreshed) -> InvalidToken:
    signals.refreshed(outcome)
    return InvalidToken("The refresh token is not valid")
