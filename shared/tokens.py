"""Access tokens: JWTs signed with Ed25519 (RFC 9864), issued by auth, verified anywhere."""

import hashlib
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError

from shared.errors import Unauthenticated
from shared.token_keys import KeySource, load_key

ALGORITHM = "Ed25519"
TYPE = "at+jwt"  # RFC 9068; tokens of other types are not accepted
LIFETIME_S = 300  # seconds; short, as access tokens cannot be revoked
LEEWAY_S = 60
MAX_LENGTH = 4096  # characters; ours have about 600, longer ones are not parsed
REMEMBERED = 10_000  # verified tokens; about 7 MB
_HEADERS = {"alg", "kid", "typ"}  # only these, so jku, x5u, jwk, crit and b64 have no effect


class Role(StrEnum):
    """What somebody may do; a user can have several."""

    USER = "USER"
    OPERATOR = "OPERATOR"
    AUDITOR = "AUDITOR"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, from a verified token; `epoch` is the user's when it was signed."""

    user_id: str
    roles: frozenset[Role]
    epoch: int = 0


class InvalidToken(Unauthenticated):
    """The token is malformed, forged, of another kind or issuer, expired or not yet valid."""

    code = "invalid_token"


class TokenIssuer:
    """Signs access tokens with one key, and publishes it with previous or next ones.

    ValueError if a key is not Ed25519 in PEM form.
    """

    def __init__(
        self, private_pem: str, issuer: str, audience: str, previous_public: Sequence[str] = ()
    ) -> None:
        self._key = load_key(private_pem, private=True)
        self._published = [self._key, *(load_key(pem, private=False) for pem in previous_public)]
        self._claims = {"iss": issuer, "aud": audience}

    def access(
        self, user_id: str, roles: frozenset[Role] | Sequence[Role], epoch: int = 0
    ) -> tuple[str, int]:
        """A new access token and the seconds until it expires."""
        now = int(time.time())
        claims = {
            **self._claims,
            "sub": user_id,
            "roles": sorted(roles),
            "epoch": epoch,
            "jti": uuid4().hex,
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_S,
        }
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM]), LIFETIME_S

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517)."""
        extra = {"use": "sig", "alg": ALGORITHM}
        return {"keys": [{**key.as_dict(private=False), **extra} for key in self._published]}


class TokenVerifier:
    """Turns an access token into its principal; remembers up to REMEMBERED of them.

    Checking the signature is the costly part, and a token comes with each request of its user. A
    remembered token is found by a hash of the whole token, until the token expires or the keys
    change. Refused tokens are not remembered.
    """

    def __init__(self, keys: KeySource, issuer: str, audience: str) -> None:
        self._keys = keys
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            **{name: {"essential": True} for name in ("sub", "jti", "iat", "nbf", "exp")},  # type: ignore[arg-type]
        )
        # by hash: the principal, and when the token becomes valid and expires (Unix seconds)
        self._remembered: dict[bytes, tuple[Principal, float, float]] = {}
        self._version = keys.version()

    def recall(self, token: str) -> Principal | None:
        """The principal, if this token was verified before and is still valid, else None."""
        known, first, end = self._of_these_keys().get(_digest(token), (None, 0, 0))
        return known if first <= time.time() < end else None

    async def verify(self, token: str) -> Principal:
        """The principal; InvalidToken if anything is wrong, KeysUnavailable without keys."""
        known = self.recall(token)
        if known is not None:
            return known
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise InvalidToken("The token is not valid")
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
            self._claims.validate(claims)
            if claims["exp"] - claims["iat"] > LIFETIME_S or not isinstance(claims["roles"], list):
                raise ValueError
            # unknown roles, as of a later version, are left out: that never allows more
            roles = frozenset(role for role in Role if role in claims["roles"])
            principal = Principal(claims["sub"], roles, int(claims.get("epoch", 0)))
            self._remember(token, principal, claims)
        except Exception as exc:  # untrusted input: any failure means an invalid token
            raise InvalidToken("The token is not valid") from (
                exc if isinstance(exc, JoseError) else None
            )
        return principal

    def _remember(self, token: str, principal: Principal, claims: Mapping[str, Any]) -> None:
        first = max(claims["nbf"], claims["iat"]) - LEEWAY_S
        remembered, digest = self._of_these_keys(), _digest(token)
        remembered.pop(digest, None)
        if len(remembered) >= REMEMBERED:
            del remembered[next(iter(remembered))]  # the oldest
        remembered[digest] = principal, first, claims["exp"] + LEEWAY_S

    def _of_these_keys(self) -> dict[bytes, tuple[Principal, float, float]]:
        version = self._keys.version()
        if version != self._version:
            self._remembered.clear()
            self._version = version
        return self._remembered


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _key_id(token: str) -> str:
    try:
        if len(token) > MAX_LENGTH:
            raise ValueError
        encoded = token.partition(".")[0].encode("ascii")
        header = json.loads(urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
        if set(header) != _HEADERS or header["alg"] != ALGORITHM or header["typ"] != TYPE:
            raise ValueError
        return str(header["kid"])
    except (ValueError, TypeError, RecursionError):
        raise InvalidToken("The token is not valid") from None
