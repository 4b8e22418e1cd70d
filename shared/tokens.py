"""Access tokens: JWTs signed with Ed25519 (RFC 9864), issued by auth, verified anywhere."""

import asyncio
import json
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import uuid4

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from plainview import get_logger
from shared.errors import Unauthenticated, Unavailable

ALGORITHM = "Ed25519"
TYPE = "at+jwt"  # RFC 9068: a token of another kind is no access token
LIFETIME_S = 300  # access tokens cannot be revoked, so they are short
LEEWAY_S = 60
MAX_LENGTH = 4096  # ours have about 600 characters; nothing longer is parsed
_HEADERS = {"alg", "kid", "typ"}  # so that no jku, x5u, jwk, crit or b64 is ever looked at
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\s*", re.DOTALL)


class Role(StrEnum):
    """What somebody may do; a user can have several."""

    USER = "USER"
    OPERATOR = "OPERATOR"
    AUDITOR = "AUDITOR"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, by a verified token."""

    user_id: str
    roles: frozenset[Role]
    token_id: str


class InvalidToken(Unauthenticated):
    """The token is malformed, forged, of another kind or issuer, expired or not yet valid."""

    code = "invalid_token"


class KeysUnavailable(Unavailable):
    """No verification keys are known yet and their source does not answer."""

    code = "keys_unavailable"


def load_key(pem: str, *, private: bool) -> OKPKey:
    """The Ed25519 key of a PEM text, with its thumbprint (RFC 7638) as `kid`; else ValueError."""
    try:
        key = OKPKey.import_key(pem.strip().encode())
    except Exception as exc:  # the parsers below raise errors of many kinds
        raise ValueError("not an Ed25519 key in PEM form") from exc
    if key.as_dict(private=False).get("crv") != "Ed25519":
        raise ValueError("not an Ed25519 key")
    if private and not key.is_private:
        raise ValueError("a public key where the private one is needed")
    key.ensure_kid()
    return key


def split_pem(text: str) -> tuple[str, ...]:
    """The PEM blocks of a text; ValueError if it holds anything else."""
    if _PEM.sub("", text).strip():
        raise ValueError("not PEM blocks one after another")
    return tuple(match.group(0) for match in _PEM.finditer(text))


class TokenIssuer:
    """Signs access tokens with one key and publishes it beside the previous or next ones.

    ValueError if a key is not Ed25519 in PEM form.
    """

    def __init__(
        self, private_pem: str, issuer: str, audience: str, previous_public: Sequence[str] = ()
    ) -> None:
        self._key = load_key(private_pem, private=True)
        self._published = [self._key, *(load_key(pem, private=False) for pem in previous_public)]
        self._claims = {"iss": issuer, "aud": audience}

    def access(self, user_id: str, roles: frozenset[Role] | Sequence[Role]) -> tuple[str, int]:
        """A new access token and the seconds until it expires."""
        now = int(time.time())
        claims = {
            **self._claims,
            "sub": user_id,
            "roles": sorted(roles),
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


class KeySource(Protocol):
    """Where a verifier finds keys."""

    async def find(self, kid: str) -> OKPKey | None:
        """The key of that ID, None if there is none; KeysUnavailable if it cannot tell."""


class StaticKeys:
    """The keys of a JWK set at hand; other kinds are skipped. ValueError if none is usable."""

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        self._keys: dict[str, OKPKey] = {}
        for data in jwks["keys"]:
            if data.get("kty") == "OKP" and data.get("crv") == "Ed25519":
                key = OKPKey.import_key({name: data[name] for name in ("kty", "crv", "x")})
                key.ensure_kid()  # never the `kid` that the document claims
                self._keys[str(key.kid)] = key
        if not self._keys:
            raise ValueError("no Ed25519 key in the key set")

    async def find(self, kid: str) -> OKPKey | None:
        """The key of that ID."""
        return self._keys.get(kid)


class RemoteJwks:
    """The keys that `url` publishes, cached for `ttl` seconds and kept for as long as it is away.

    They are renewed in the background; only a key ID seen for the first time waits for them.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, ttl: float = 300) -> None:
        self._client, self._url, self._ttl = client, url, ttl
        self._keys: StaticKeys | None = None
        self._fetched = self._tried = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> OKPKey | None:
        """The key of that ID; asks anew for an unknown one, at most once in 2 seconds."""
        key = await self._keys.find(kid) if self._keys else None
        if key is None:
            # shielded: callers share the task, and one that leaves must not end it for all
            await asyncio.shield(self._refresh())
            if self._keys is None:
                raise KeysUnavailable("The keys of tokens are not available", retry_after=2)
            return await self._keys.find(kid)
        if time.monotonic() - self._fetched > self._ttl:
            self._refresh()
        return key

    def _refresh(self) -> asyncio.Task[None]:
        now = time.monotonic()
        if self._task is None or (self._task.done() and now - self._tried > 2):
            self._tried = now
            self._task = asyncio.create_task(self._fetch())
        return self._task

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(2):
                response = await self._client.get(self._url)
                response.raise_for_status()
                self._keys = StaticKeys(response.json())
            self._fetched = time.monotonic()
        except Exception as exc:  # whatever comes, the keys at hand stay valid
            get_logger("security").warning("token_keys.fetch_failed", error_type=type(exc).__name__)


class TokenVerifier:
    """Turns an access token into its principal."""

    def __init__(self, keys: KeySource, issuer: str, audience: str) -> None:
        self._keys = keys
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            **{name: {"essential": True} for name in ("sub", "jti", "iat", "nbf", "exp")},  # type: ignore[arg-type]
        )

    async def verify(self, token: str) -> Principal:
        """The principal; InvalidToken whatever is wrong with it, KeysUnavailable without keys."""
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise InvalidToken("The token is not valid")
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
            self._claims.validate(claims)
            if claims["exp"] - claims["iat"] > LIFETIME_S or not isinstance(claims["roles"], list):
                raise ValueError
            # a role of a later version is left out: less may be done, never more
            roles = frozenset(role for role in Role if role in claims["roles"])
            return Principal(claims["sub"], roles, claims["jti"])
        except Exception as exc:  # bytes of a stranger: any failure means the same
            raise InvalidToken("The token is not valid") from (
                exc if isinstance(exc, JoseError) else None
            )


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
