"""The keys of access tokens: read from PEM, taken from a JWK set, fetched from where it is."""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

import httpx
from joserfc.jwk import OKPKey

from plainview import get_logger
from shared.errors import Unavailable

REFRESH_S = 60  # so long at most a key that was withdrawn is still believed
# 300 s of an access token's life, 60 s of leeway, 60 s until it is noticed that keys have changed:
# after that no honest token is verified by keys that could not be renewed.
KEPT_S = 420
AGAIN_S = 2  # between two attempts to fetch them
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\s*", re.DOTALL)


class KeysUnavailable(Unavailable):
    """No verification keys are known, or none that are fresh enough, and nobody gives others."""

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


class KeySource(Protocol):
    """Where a verifier finds keys."""

    def version(self) -> int:
        """The number of the key set as it is now: another one after each change."""

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

    @property
    def ids(self) -> frozenset[str]:
        """The thumbprints of the keys: equal for equal sets."""
        return frozenset(self._keys)

    def version(self) -> int:
        """Always the same: they do not change."""
        return 0

    async def find(self, kid: str) -> OKPKey | None:
        """The key of that ID."""
        return self._keys.get(kid)


class RemoteJwks:
    """The keys that `url` publishes, fetched again every `refresh_s` seconds while they are used.

    While the source is away the last ones stay valid, until `kept_s` seconds after they were
    fetched. Keys are renewed in the background; only a key ID that is not known waits for it.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        *,
        refresh_s: float = REFRESH_S,
        kept_s: float = KEPT_S,
    ) -> None:
        self._client, self._url = client, url
        self._refresh_s, self._kept_s = refresh_s, kept_s
        self._keys: StaticKeys | None = None
        self._version = 0
        self._fetched = self._tried = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def version(self) -> int:
        """The number of the key set as it is now; begins to renew it if it is time to."""
        if self._keys is not None:
            age = time.monotonic() - self._fetched
            if age > self._kept_s:
                self._replace(None)
                get_logger("security").warning("token_keys.expired")
            elif age > self._refresh_s:
                self._refresh()
        return self._version

    async def find(self, kid: str) -> OKPKey | None:
        """The key of that ID; asks anew for an unknown one, at most once in AGAIN_S seconds."""
        self.version()
        key = await self._keys.find(kid) if self._keys else None
        if key is not None:
            return key
        # shielded: callers share the task, and one that leaves must not end it for all
        await asyncio.shield(self._refresh())
        if self._keys is None:
            raise KeysUnavailable("The keys of tokens are not available", retry_after=AGAIN_S)
        return await self._keys.find(kid)

    def _replace(self, keys: StaticKeys | None) -> None:
        if (keys and keys.ids) != (self._keys and self._keys.ids):
            self._version += 1
        self._keys = keys

    def _refresh(self) -> asyncio.Task[None]:
        now = time.monotonic()
        if self._task is None or (self._task.done() and now - self._tried > AGAIN_S):
            self._tried = now
            self._task = asyncio.create_task(self._fetch())
        return self._task

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(2):
                response = await self._client.get(self._url)
                response.raise_for_status()
                self._replace(StaticKeys(response.json()))
            self._fetched = time.monotonic()
        except Exception as exc:  # whatever comes, the keys at hand stay valid
            get_logger("security").warning("token_keys.fetch_failed", error_type=type(exc).__name__)
