"""What users do with their accounts: register, sign in, stay signed in, sign out."""

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from auth import places, signals
from auth.announcements import LOGGED_IN, PENDING_LIMIT, REGISTERED, announcement
from auth.limiter import Attempt, SignInLimiter, TooManyFailures
from auth.passwords import Passwords, Verdict, refuse_common
from auth.repository import EmailTaken, Families, Family, User, Users
from plainview import bind_user, get_logger, user_pseudonym
from shared.errors import Conflict, Forbidden, NotFound, Unauthenticated
from shared.tokens import InvalidToken, Principal, Role, TokenIssuer

REPEAT_S = 10.0  # within this a reuse is two tabs or a retry; a later one is a sign of theft
_log = get_logger("security")


class BadCredentials(Unauthenticated):
    """The e-mail address or the password is wrong; the reply does not say which."""

    code = "bad_credentials"
    outcome: signals.SignIn = "bad_credentials"


class AccountDisabled(Forbidden):
    """The password is right, the account is closed."""

    code = "account_disabled"
    outcome: signals.SignIn = "disabled"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in gives; `expires_in` seconds are those of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Accounts:
    """The use cases of auth. `wake` is called after an announcement was stored."""

    users: Users
    families: Families
    passwords: Passwords
    limiter: SignInLimiter
    issuer: TokenIssuer
    wake: Callable[[], None] = lambda: None
    family_days: int = 30

    async def register(
        self, email: str, password: str, display_name: str, roles: Sequence[Role] = (Role.USER,)
    ) -> User:
        """A new user. Raises Invalid for a weak password, EmailTaken and Unavailable."""
        refuse_common(password, email, display_name)
        password_hash = await self.passwords.hash(password)
        user = User(uuid4().hex, email, display_name, password_hash, roles)
        try:
            await self.users.create(user, announcement(REGISTERED, user.id))
        except EmailTaken:
            signals.signed_up("duplicate")
            raise
        self.wake()
        bind_user(user.id)
        signals.signed_up("created")
        _log.info("user.registered", roles=[*user.roles])
        return user

    async def login(self, email: str, password: str, address: str) -> Tokens:
        """Tokens for a new session.

        Raises BadCredentials, AccountDisabled, TooManyFailures and Unavailable.
        """
        about = {"account": user_pseudonym(email), "client_address": address}
        try:
            user, verdict, attempt = await self._check(email, password, address)
            await self.limiter.give_back(attempt, afresh=not user.disabled)
            if user.disabled:
                raise AccountDisabled("This account is disabled")
            tokens = await self._start_session(user)
            login = announcement(LOGGED_IN, user.id)
            known = places.remember(user, address)
            pending = await self.users.sign_in(user, login, known, verdict.new_hash)
            if pending is None:  # the password was changed while this one was checked
                raise BadCredentials("The e-mail address or the password is wrong")
        except (BadCredentials, TooManyFailures, AccountDisabled) as exc:
            signals.signed_in(exc.outcome)
            _log.warning("sign_in.failed", outcome=exc.outcome, **about)
            raise
        self.wake()
        bind_user(user.id)
        signals.signed_in("success")
        _log.info("sign_in.succeeded", **about)
        await self._drop_oldest(user, pending)
        return tokens

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
        if family.expires_at <= datetime.now(UTC):
            raise _invalid("expired")
        if digest == family.current:
            successor = secrets.token_urlsafe(32)
            recent = {**_recent(family), digest: time.time()}
            if await self.families.rotate(family, _digest(successor), recent):
                signals.refreshed("rotated")
                return self._tokens(user, f"{family.id}.{successor}")
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
        _log.warning("refresh_token.reused")
        raise Unauthenticated("This token was used before: sign in again", code="refresh_reused")

    async def logout(self, token: str) -> None:
        """End the session of a refresh token, also of an old one; no error if there is none."""
        await self.families.delete(token.partition(".")[0])
        _log.info("signed_out")

    async def me(self, user_id: str) -> User:
        """The user; NotFound if the account is gone."""
        return _found(await self.users.get(user_id))

    async def change_password(self, user_id: str, current: str, new: str, address: str) -> None:
        """Change the password and end all sessions.

        A wrong current password is Forbidden and counts as a failed sign-in.
        """
        user = await self.me(user_id)
        refuse_common(new, user.email, user.display_name)
        try:
            _, _, attempt = await self._check(user.email, current, address)
        except BadCredentials:
            _log.warning("password_change.failed")
            raise Forbidden("The current password is wrong", code="bad_credentials") from None
        await self.limiter.give_back(attempt, afresh=True)
        if not await self.users.set_password(user, await self.passwords.hash(new)):
            raise Conflict("The password was changed a moment ago")
        await self.families.delete_of(user.id)
        _log.info("password.changed")

    async def set_roles(self, actor: Principal, user_id: str, roles: Sequence[Role]) -> User:
        """Set a user's roles; access tokens already issued keep the old ones until they expire.

        The actor's role is read from the database, as its token may be five minutes old. Raises
        InvalidToken, Forbidden, NotFound, and Conflict if no administrator would remain.
        """
        async with self.users.administration():
            await self._check_administrator(actor)
            user = _found(await self.users.get(user_id))
            if Role.ADMIN not in roles:
                await self._keep_an_administrator(user)
            changed = _found(await self.users.set_roles(user.id, sorted(set(roles))))
        _log.warning("roles.changed", subject=user_pseudonym(user_id), roles=[*changed.roles])
        return changed

    async def disable(self, email: str) -> None:
        """Close an account and end its sessions; raises NotFound and Conflict as `set_roles`."""
        async with self.users.administration():
            user = _found(await self.users.by_email(email))
            await self._keep_an_administrator(user)
            await self.users.disable(user.id)
        await self.families.delete_of(user.id)
        _log.warning("account.disabled", subject=user_pseudonym(user.id))

    async def _check_administrator(self, actor: Principal) -> None:
        user = await self.users.get(actor.user_id)
        if user is None or user.disabled or user.epoch != actor.epoch:
            raise InvalidToken("The session of this token has ended")
        if Role.ADMIN not in user.roles:
            _log.warning("access.denied", required=[Role.ADMIN])
            raise Forbidden("Your role may not do this")

    async def _keep_an_administrator(self, user: User) -> None:
        """Raise Conflict if this user is the last administrator."""
        administers = Role.ADMIN in user.roles and not user.disabled
        if administers and not await self.users.has_other_administrator(user.id):
            raise Conflict("This is the last administrator", code="last_administrator")

    async def _check(
        self, email: str, password: str, address: str
    ) -> tuple[User, Verdict, Attempt]:
        """The user with this address and password, and the attempt, still counted as failed."""
        user = await self.users.by_email(email)
        # Failures from networks that the user signed in from before are counted apart, so that a
        # stranger's failures elsewhere do not lock the owner out.
        place = places.known_place(user, address) if user else ""
        attempt = await self.limiter.begin(f"{email} {place}".strip(), address)
        try:
            verdict = await self.passwords.verify(user.password_hash if user else None, password)
        except BaseException:  # the check did not happen, so it is not a failed one
            await self.limiter.give_back(attempt)
            raise
        if user is None or not verdict.fits:
            raise BadCredentials("The e-mail address or the password is wrong")
        return user, verdict, attempt

    async def _start_session(self, user: User) -> Tokens:
        secret = secrets.token_urlsafe(32)
        expires_at = datetime.now(UTC) + timedelta(days=self.family_days)
        family = Family(secrets.token_hex(16), user.id, user.epoch, _digest(secret), expires_at)
        await self.families.create(family)
        return self._tokens(user, f"{family.id}.{secret}")

    def _tokens(self, user: User, refresh_token: str) -> Tokens:
        access_token, expires_in = self.issuer.access(user.id, user.roles, user.epoch)
        return Tokens(access_token, refresh_token, expires_in)

    async def _drop_oldest(self, user: User, pending: Sequence[str]) -> None:
        """Drop waiting announcements but the newest, and the first, which may be a registration."""
        dropped = pending[1 : len(pending) - PENDING_LIMIT]
        if len(pending) > PENDING_LIMIT + 1:
            await self.users.remove_announcements(user.id, dropped)
            signals.announced(LOGGED_IN, "dropped", len(dropped))


def _digest(secret: str) -> str:
    # Slow hashes are for secrets that can be guessed; these are 256 random bits.
    return hashlib.sha256(secret.encode()).hexdigest()


def _recent(family: Family) -> dict[str, float]:
    return {hashed: at for hashed, at in family.recent.items() if time.time() - at < REPEAT_S}


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("There is no such user")
    return user


def _invalid(outcome: signals.Refresh) -> InvalidToken:
    signals.refreshed(outcome)
    return InvalidToken("The refresh token is not valid")
