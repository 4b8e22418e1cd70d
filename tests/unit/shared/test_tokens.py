"""Access tokens: what is accepted, and that all else is refused in the same way."""

import asyncio
import hashlib
import json
import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import time_machine
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from shared.token_keys import KeysUnavailable, RemoteJwks, StaticKeys, load_key, split_pem
from shared.tokens import LEEWAY_S, InvalidToken, Role, TokenIssuer, TokenVerifier
from tests.support.forging import Forger, encode

KEY = OKPKey.generate_key("Ed25519", auto_kid=True)
OTHER = OKPKey.generate_key("Ed25519", auto_kid=True)
PEM = KEY.as_pem(private=True).decode()


def issuer(key: OKPKey = KEY, previous: tuple[str, ...] = ()) -> TokenIssuer:
    return TokenIssuer(key.as_pem(private=True).decode(), "me", "them", previous)


def verifier(jwks: dict[str, Any] | None = None) -> TokenVerifier:
    return TokenVerifier(StaticKeys(jwks or issuer().jwks()), "me", "them")


FORGER = Forger(PEM, str(KEY.kid), "u1", "me", "them")


def forge(**claims: Any) -> str:
    """A correctly signed token with some of its claims changed."""
    return FORGER.token(claims=FORGER.claims(**claims))


async def refused(one, token):
    assert one.recall(token) is None
    with pytest.raises(InvalidToken) as caught:
        await one.verify(token)
    return caught.value.detail


async def test_a_token_comes_back_as_its_principal():
    token, expires_in = issuer().access("u1", [Role.USER, Role.AUDITOR])
    principal = await verifier().verify(token)
    assert (principal.user_id, principal.roles) == ("u1", {Role.USER, Role.AUDITOR})
    claims = jwt.decode(token, KEY, algorithms=["Ed25519"]).claims
    assert claims["exp"] - claims["iat"] == expires_in == 300
    assert set(claims) == {"iss", "aud", "sub", "roles", "epoch", "jti", "iat", "nbf", "exp"}


def test_the_key_set_has_thumbprints_and_no_private_part():
    (key,) = issuer().jwks()["keys"]
    canonical = json.dumps({name: key[name] for name in ("crv", "kty", "x")}, separators=(",", ":"))
    assert key["kid"] == encode(hashlib.sha256(canonical.encode()).digest())  # RFC 7638
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


async def test_every_invalid_token_is_refused_in_the_same_words():
    """Each is wrong in one way; tests/faults/test_doors.py sends the same to the services."""
    assert (await verifier().verify(FORGER.token())).user_id == "u1"
    texts = {"empty": "", "not ASCII": "é.é.é", "NUL": "\0" + FORGER.token()}
    for name, token in {**dict(FORGER.invalid()), **texts}.items():
        one = verifier()
        assert await one.verify(forge())  # what is remembered makes nothing else valid
        for _ in range(2):
            assert await refused(one, token) == "The token is not valid", name


async def test_a_role_that_is_not_known_gives_nothing():
    principal = await verifier().verify(forge(roles=["SUPERUSER", "USER", 7, None]))
    assert principal.roles == {Role.USER}


@pytest.mark.parametrize(
    "pem",
    ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
     KEY.as_pem(private=False).decode(), RSAKey.generate_key(2048).as_pem(private=True).decode(),
     ECKey.generate_key("P-256").as_pem(private=True).decode(),
     OKPKey.generate_key("X25519").as_pem(private=True).decode()],
)  # fmt: skip
def test_a_weak_or_missing_key_stops_the_start(pem):
    with pytest.raises(ValueError, match="key"):
        load_key(pem, private=True)


def test_pem_blocks_are_split_and_rubbish_is_refused():
    one, two = (key.as_pem(private=False).decode() for key in (KEY, OTHER))
    assert [pem.strip() for pem in split_pem(f"\n{one}\n{two}")] == [one.strip(), two.strip()]
    assert split_pem("") == ()
    with pytest.raises(ValueError, match="PEM"):
        split_pem(f"{one} and more")


class Publisher:
    """An HTTP server's side of a key set, the keys it gives, and a verifier that uses them."""

    def __init__(self) -> None:
        self.calls = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.publishes(issuer())
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._reply))
        self.keys = RemoteJwks(client, "http://auth/.well-known/jwks.json")
        self.verifier = TokenVerifier(self.keys, "me", "them")

    def publishes(self, by: TokenIssuer) -> None:
        self.answer = httpx.Response(200, json=by.jwks())

    async def _reply(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        await self.answers.wait()
        return self.answer

    def later(self, seconds: float) -> None:
        """As if so much time had passed since the last fetch."""
        self.keys._fetched -= seconds
        self.keys._tried -= seconds

    async def renewed(self) -> None:
        """What happens in the background has happened."""
        assert self.keys._task
        await self.keys._task


@pytest.fixture
def publisher():
    return Publisher()


@pytest.fixture
def still(monkeypatch):
    """No time passes for the keys: the 2 s between two fetches are not over in any test."""
    clock = SimpleNamespace(monotonic=lambda: 1000.0, time=time.time)
    monkeypatch.setattr("shared.token_keys.time", clock)


async def test_keys_are_fetched_once_for_many(still, publisher):
    tokens = [issuer().access("u1", [])[0] for _ in range(20)]
    await asyncio.gather(*(publisher.verifier.verify(token) for token in tokens))
    assert publisher.calls == 1


async def test_unknown_key_ids_cannot_make_it_ask_all_the_time(still, publisher):
    for number in range(50):
        assert await publisher.keys.find(f"kid-{number}") is None
    assert publisher.calls == 1


async def test_a_new_key_is_found_when_its_first_token_comes(publisher):
    assert await publisher.keys.find(KEY.kid) is not None
    publisher.publishes(issuer(OTHER))
    publisher.later(3)
    assert await publisher.keys.find(OTHER.kid) is not None


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(503), httpx.Response(200, json={"keys": []}),
     httpx.Response(200, text="<html>"),
     httpx.Response(200, json={"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": KEY.kid}]})],
)  # fmt: skip
async def test_known_keys_stay_valid_while_their_source_fails(answer, publisher):
    assert await publisher.keys.find(KEY.kid) is not None
    publisher.answer = answer
    publisher.later(61)
    assert await publisher.keys.find(KEY.kid) is not None
    await publisher.renewed()
    assert publisher.calls == 2
    assert await publisher.keys.find(KEY.kid) is not None


async def test_a_renewal_that_hangs_delays_nobody_whose_key_is_known(publisher):
    assert await publisher.keys.find(KEY.kid) is not None
    publisher.answers.clear()
    publisher.later(61)
    async with asyncio.timeout(1):
        assert await publisher.keys.find(KEY.kid) is not None
    publisher.answers.set()
    await publisher.renewed()
    assert publisher.calls == 2


async def test_without_any_keys_it_says_so_and_does_not_ask_for_each_token(still, publisher):
    publisher.answer = httpx.Response(500)
    for _ in range(10):
        with pytest.raises(KeysUnavailable):
            await publisher.verifier.verify(forge())
    assert publisher.calls == 1


async def test_a_published_kid_cannot_stand_for_another_key():
    keys = StaticKeys({"keys": [{**OTHER.as_dict(private=False), "kid": KEY.kid}]})
    assert await keys.find(KEY.kid) is None


async def test_keys_are_renewed_every_minute_also_for_tokens_that_are_remembered(publisher):
    token = forge()
    await publisher.verifier.verify(token)
    publisher.later(55)
    assert publisher.verifier.recall(token)
    assert publisher.calls == 1
    publisher.later(6)
    assert publisher.verifier.recall(token)
    await publisher.renewed()
    assert publisher.calls == 2


@pytest.mark.parametrize("remembered", [True, False])
async def test_keys_that_cannot_be_renewed_are_dropped_after_seven_minutes(remembered, publisher):
    remote, token = publisher.verifier, forge()
    await remote.verify(token)
    publisher.answer = httpx.Response(500)
    publisher.later(415)
    assert await remote.verify(token if remembered else forge())
    await publisher.renewed()
    publisher.later(6)
    with pytest.raises(KeysUnavailable):
        await remote.verify(token if remembered else forge())
    assert remote.recall(token) is None
    publisher.publishes(issuer())
    publisher.later(3)
    assert await remote.verify(token)


async def test_a_withdrawn_key_takes_its_remembered_tokens_with_it(publisher):
    publisher.publishes(issuer(KEY, (OTHER.as_pem(private=False).decode(),)))
    old = issuer(OTHER).access("u1", [Role.USER])[0]
    assert await publisher.verifier.verify(old)
    publisher.publishes(issuer())
    publisher.later(61)
    assert publisher.verifier.recall(old)  # begins to renew them
    await publisher.renewed()
    assert await refused(publisher.verifier, old)


class Counting(StaticKeys):
    """Counts how often a key is wanted: once for each signature that is verified."""

    found = 0

    async def find(self, kid: str) -> OKPKey | None:
        self.found += 1
        return await super().find(kid)


async def test_a_token_is_verified_once():
    keys, token = Counting(issuer().jwks()), forge()
    remembering = TokenVerifier(keys, "me", "them")
    first = await remembering.verify(token)
    assert remembering.recall(token) == first == await remembering.verify(token)
    assert keys.found == 1
    signature_of_another = forge().rpartition(".")[2]
    assert await refused(remembering, f"{token.rpartition('.')[0]}.{signature_of_another}")


@pytest.mark.parametrize(
    ("claims", "shifts"),
    [
        # accepted from LEEWAY_S before it begins until LEEWAY_S after it ends, and no longer
        ({}, {0: True, 299.5 + LEEWAY_S: True, 300 + LEEWAY_S: False, 0.5 - LEEWAY_S: True}),
        ({}, {-1.5 - LEEWAY_S: False}),
        ({"nbf": 30}, {0: True, 29 - LEEWAY_S: False, 31 - LEEWAY_S: True}),
    ],
)
async def test_a_remembered_token_is_valid_as_long_as_the_token(claims, shifts):
    start = int(time.time())
    with time_machine.travel(start, tick=False):
        token = forge(**{name: start + value for name, value in claims.items()})
        remembering = verifier()
        assert await remembering.verify(token)
    for shift, valid in shifts.items():
        with time_machine.travel(start + shift, tick=False):
            assert (remembering.recall(token) is not None) == valid, shift
            if valid:
                assert await verifier().verify(token), shift
            else:
                assert await refused(verifier(), token), shift


async def test_no_more_is_remembered_than_allowed(monkeypatch):
    monkeypatch.setattr("shared.tokens.REMEMBERED", 3)
    one = verifier()
    tokens = [forge() for _ in range(5)]
    for token in tokens:
        await one.verify(token)
    assert [one.recall(token) is not None for token in tokens] == [False, False, True, True, True]
