"""What users do with their accounts: register, sign in, change them; `sessions` has the rest."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from uuid import uuid4

from auth import signals
from auth.announcements import PENDING_LIMIT, announcement
from auth.limiter import Attempt, SignInLimiter, TooManyFailures
from auth.passwords import Checked, Passwords, refuse_common
from auth.records import User
from auth.repository import EmailTaken, Users
from auth.sessions import Sessions, Tokens
from plainview import bind_user, get_logger, user_pseudonym
from shared.announcements import Announcement
from shared.errors import Conflict, Forbidden, NotFound, Unauthenticated
from shared.tokens import InvalidToken, Principal, Role

log = get_logger("security")

# A user's document has pseudonyms of the networks that the user signed in from: the newest ten,
# none older than 30 days.
NETWORKS_KEPT, NETWORK_KEPT_S = 10, 30 * 24 * 3600.0
PREFIX = {4: 24, 6: 64}  # bits by IP version: the network that one household or office shares


class BadCredentials(Unauthenticated):
    """The e-mail address or the password is wrong; the reply does not say which."""

    code = "bad_credentials"
    outcome: signals.SignIn = "bad_credentials"


class AccountDisabled(Forbidden):
    """The password is right, the account is closed."""

    code = "account_disabled"
    outcome: signals.SignIn = "disabled"


@dataclass(frozen=True, slots=True)
class Accounts:
    """The use cases of auth. `wake` is called after an announcement was stored."""

    users: Users
    sessions: Sessions
    passwords: Passwords
    limiter: SignInLimiter
    wake: Callable[[], None] = lambda: None

    async def register(
        self, email: str, password: str, display_name: str, roles: Sequence[Role] = (Role.USER,)
    ) -> User:
        """A new user. Raises Invalid for a weak password, EmailTaken and Unavailable."""
        refuse_common(password, email, display_name)
        password_hash = await self.passwords.hash(password)
        user = User(uuid4().hex, email, display_name, password_hash, roles)
        try:
            await self.users.create(user, announcement(Announcement.REGISTERED, user.id))
        except EmailTaken:
            signals.signed_up("duplicate")
            raise
        self.wake()
        bind_user(user.id)
        signals.signed_up("created")
        log.info("user.registered", roles=[*user.roles])
        return user

    async def login(self, email: str, password: str, address: str) -> Tokens:
        """Tokens for a new session.

        Raises BadCredentials, AccountDisabled, TooManyFailures and Unavailable.
        """
        about = {"account": user_pseudonym(email), "client_address": address}
        try:
            user, checked, attempt = await self._check(email, password, address)
            await self.limiter.give_back(attempt, afresh=not user.disabled)
            if user.disabled:
                raise AccountDisabled("This account is disabled")
            tokens = await self.sessions.start(user)
            login = announcement(Announcement.LOGGED_IN, user.id)
            known = _with_network(user, address)
            pending = await self.users.sign_in(user, login, known, checked.new_hash)
            if pending is None:  # the password was changed while this one was checked
                raise BadCredentials("The e-mail address or the password is wrong")
        except (BadCredentials, TooManyFailures, AccountDisabled) as exc:
            signals.signed_in(exc.outcome)
            log.warning("sign_in.failed", outcome=exc.outcome, **about)
            raise
        self.wake()
        bind_user(user.id)
        signals.signed_in("success")
        log.info("sign_in.succeeded", **about)
        await self._drop_oldest(user, pending)
        return tokens

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
            log.warning("password_change.failed")
            raise Forbidden("The current password is wrong", code="bad_credentials") from None
        await self.limiter.give_back(attempt, afresh=True)
        if not await self.users.set_password(user, await self.passwords.hash(new)):
            raise Conflict("The password was changed a moment ago")
        await self.sessions.families.delete_of(user.id)
        log.info("password.changed")

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
        log.warning("roles.changed", subject=user_pseudonym(user_id), roles=[*changed.roles])
        return changed

    async def disable(self, email: str) -> None:
        """Close an account and end its sessions; raises NotFound and Conflict as `set_roles`."""
        async with self.users.administration():
            user = _found(await self.users.by_email(email))
            await self._keep_an_administrator(user)
            await self.users.disable(user.id)
        await self.sessions.families.delete_of(user.id)
        log.warning("account.disabled", subject=user_pseudonym(user.id))

    async def _check_administrator(self, actor: Principal) -> None:
        user = await self.users.get(actor.user_id)
        if user is None or user.disabled or user.epoch != actor.epoch:
            raise InvalidToken("The session of this token has ended")
        if Role.ADMIN not in user.roles:
            log.warning("access.denied", required=[Role.ADMIN])
            raise Forbidden("Your role may not do this")

    async def _keep_an_administrator(self, user: User) -> None:
        """Raise Conflict if this user is the last administrator."""
        administers = Role.ADMIN in user.roles and not user.disabled
        if administers and not await self.users.has_other_administrator(user.id):
            raise Conflict("This is the last administrator", code="last_administrator")

    async def _check(
        self, email: str, password: str, address: str
    ) -> tuple[User, Checked, Attempt]:
        """The user with this address and password, and the attempt, still counted as failed."""
        user = await self.users.by_email(email)
        # Failures from networks that the user signed in from before are counted apart, so that a
        # stranger's failures elsewhere do not lock the owner out.
        network = _known_network(user, address) if user else ""
        attempt = await self.limiter.begin(f"{email} {network}".strip(), address)
        try:
            checked = await self.passwords.verify(user.password_hash if user else None, password)
        except BaseException:  # the check did not happen, so it is not a failed one
            await self.limiter.give_back(attempt)
            raise
        if user is None or not checked.fits:
            raise BadCredentials("The e-mail address or the password is wrong")
        return user, checked, attempt

    async def _drop_oldest(self, user: User, pending: Sequence[str]) -> None:
        """Drop waiting announcements but the newest, and the first, which may be a registration."""
        dropped = pending[1 : len(pending) - PENDING_LIMIT]
        if len(pending) > PENDING_LIMIT + 1:
            await self.users.remove_announcements(user.id, dropped)
            signals.announced(Announcement.LOGGED_IN, "dropped", len(dropped))


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("There is no such user")
    return user


def _known_network(user: User, address: str) -> str:
    """The pseudonym of the address's network if the user signed in from it lately, else ""."""
    network = _network(user, address)
    return network if user.known.get(network, 0.0) > time.time() - NETWORK_KEPT_S else ""


def _with_network(user: User, address: str) -> dict[str, float]:
    """The user's networks with this one added, the newest first; older ones are dropped."""
    now = time.time()
    seen = {**user.known, _network(user, address): now}
    recent = sorted(((at, name) for name, at in seen.items()), reverse=True)[:NETWORKS_KEPT]
    return {name: at for at, name in recent if at > now - NETWORK_KEPT_S}


def _network(user: User, address: str) -> str:
    network = address  # a peer without an IP address (a Unix socket) has no network
    with suppress(ValueError):
        network = str(ip_network(f"{address}/{PREFIX[ip_address(address).version]}", strict=False))
    return user_pseudonym(f"{user.id} {network}")
