"""The keys of access tokens, read from PEM, from a JWK set, or from a URL that publishes one."""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

import httpx
from joserfc.jwk import OKPKey

from plainview import get_logger
from shared.errors import Unavailable

REFRESH_S = 60  # a withdrawn key is accepted for at most this long
# How long keys are used when they cannot be renewed: a token's lifetime (300 s), the leeway (60 s)
# and REFRESH_S. All genuine tokens that they signed have expired by then.
KEPT_S = 420
AGAIN_S = 2  # between two attempts to fetch the keys
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\s*", re.DOTALL)


class KeysUnavailable(Unavailable):
    """There are no verification keys, or they are too old, and new ones cannot be fetched."""

    code = "keys_unavailable"


def new_key() -> str:
    """A new Ed25519 private key in PEM form."""
    return OKPKey.generate_key("Ed25519").as_pem(private=True).decode()


def load_key(pem: str, *, private: bool) -> OKPKey:
    """The Ed25519 key of a PEM text, with its thumbprint (RFC 7638) as `kid`; else ValueError."""
    try:
        key = OKPKey.import_key(pem.strip().encode())
    except Exception as exc:  # the parsers raise errors of many kinds
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
        """The version of the key set; it differs after each change."""

    async def find(self, kid: str) -> OKPKey | None:
        """The key with this ID, None if there is none; KeysUnavailable if that is unknown."""


class StaticKeys:
    """The Ed25519 keys of a given JWK set; ValueError if it has none."""

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        self._keys: dict[str, OKPKey] = {}
        for data in jwks["keys"]:
            if data.get("kty") == "OKP" and data.get("crv") == "Ed25519":
                key = OKPKey.import_key({name: data[name] for name in ("kty", "crv", "x")})
                key.ensure_kid()  # the key's own thumbprint, not the document's `kid`
                self._keys[str(key.kid)] = key
        if not self._keys:
            raise ValueError("no Ed25519 key in the key set")

    @property
    def ids(self) -> frozenset[str]:
        """The thumbprints of the keys."""
        return frozenset(self._keys)

    def version(self) -> int:
        """Always 0, as the set does not change."""
        return 0

    async def find(self, kid: str) -> OKPKey | None:
        """The key with this ID, None if there is none."""
        return self._keys.get(kid)


class RemoteJwks:
    """The keys that `url` publishes, fetched again every `REFRESH_S` seconds while they are used.

    While the source is away, the last keys stay in use for `KEPT_S` seconds after they were
    fetched. Keys are renewed in the background; only a lookup of an unknown key ID waits for it.
    """

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client, self._url = client, url
        self._keys: StaticKeys | None = None
        self._version = 0
        self._fetched = self._tried = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def version(self) -> int:
        """The version of the key set; also starts a renewal in the background if one is due."""
        if self._keys is not None:
            age = time.monotonic() - self._fetched
            if age > KEPT_S:
                self._replace(None)
                get_logger("security").warning("token_keys.expired")
            elif age > REFRESH_S:
                self._refresh()
        return self._version

    async def find(self, kid: str) -> OKPKey | None:
        """The key with this ID; an unknown one makes it fetch the set, once in AGAIN_S seconds."""
        self.version()
        key = await self._keys.find(kid) if self._keys else None
        if key is not None:
            return key
        # Callers share the task, so a cancelled caller must not cancel it for the others.
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
        except Exception as exc:  # whatever fails, the last keys stay in use
            get_logger("security").warning("token_keys.fetch_failed", error_type=type(exc).__name__)
