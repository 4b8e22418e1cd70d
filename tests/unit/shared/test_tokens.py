"""Access tokens: what is accepted, and that all else is refused in the same way."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from shared.token_keys import KeysUnavailable, RemoteJwks, StaticKeys, load_key, split_pem
from shared.tokens import LEEWAY_S, InvalidToken, Principal, Role, TokenIssuer, TokenVerifier

KEY = OKPKey.generate_key("Ed25519", auto_kid=True)
OTHER = OKPKey.generate_key("Ed25519", auto_kid=True)
PEM = KEY.as_pem(private=True).decode()


def issuer(key: OKPKey = KEY, previous: tuple[str, ...] = ()) -> TokenIssuer:
    return TokenIssuer(key.as_pem(private=True).decode(), "me", "them", previous)


def verifier(jwks: dict[str, Any] | None = None) -> TokenVerifier:
    return TokenVerifier(StaticKeys(jwks or issuer().jwks()), "me", "them")


def b64(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(
    header: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    key: OKPKey = KEY,
    drop: str = "",
) -> str:
    """A correctly signed token with a part of it changed or left out."""
    now = int(time.time())
    head = {"alg": "Ed25519", "typ": "at+jwt", "kid": KEY.kid, **(header or {})}
    body = {
        "iss": "me", "aud": "them", "sub": "u1", "jti": "t1", "roles": ["USER"],
        "iat": now, "nbf": now, "exp": now + 300, **(claims or {}),
    }  # fmt: skip
    head.pop(drop, None)
    body.pop(drop, None)
    signed = f"{b64(head)}.{b64(body)}"
    signature = key.get_op_key("sign").sign(signed.encode())  # type: ignore[union-attr,call-arg]
    return f"{signed}.{b64(signature)}"


async def test_a_token_comes_back_as_its_principal() -> None:
    token, expires_in = issuer().access("u1", [Role.USER, Role.AUDITOR])
    principal = await verifier().verify(token)
    assert principal.user_id == "u1"
    assert principal.roles == {Role.USER, Role.AUDITOR}
    assert principal.token_id
    assert expires_in == 300
    claims = jwt.decode(token, KEY, algorithms=["Ed25519"]).claims
    assert claims["exp"] - claims["iat"] == 300
    assert set(claims) == {"iss", "aud", "sub", "roles", "epoch", "jti", "iat", "nbf", "exp"}


async def test_the_forgery_helper_makes_valid_tokens_when_nothing_is_changed() -> None:
    assert (await verifier().verify(forge())).user_id == "u1"


def test_the_key_set_has_thumbprints_and_no_private_part() -> None:
    (key,) = issuer().jwks()["keys"]
    canonical = json.dumps(
        {"crv": key["crv"], "kty": key["kty"], "x": key["x"]}, separators=(",", ":")
    )
    assert key["kid"] == b64(hashlib.sha256(canonical.encode()).digest())  # RFC 7638
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


async def test_both_keys_are_valid_during_rotation() -> None:
    old, _ = issuer(OTHER).access("u1", [Role.USER])
    new = issuer(KEY, (OTHER.as_pem(private=False).decode(),))
    both = verifier(new.jwks())
    assert (await both.verify(old)).user_id == "u1"
    assert (await both.verify(new.access("u2", [])[0])).user_id == "u2"
    with pytest.raises(InvalidToken):
        await verifier().verify(old)


def _hs256(header: dict[str, Any]) -> str:
    """A MAC made with the public key as if it were a secret."""
    _, body, _ = forge().split(".")
    signed = f"{b64(header)}.{body}"
    public = KEY.as_pem(private=False)
    return f"{signed}.{b64(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def _with_key(key: RSAKey | ECKey, alg: str, **header: Any) -> str:
    claims = jwt.decode(forge(), KEY, algorithms=["Ed25519"]).claims
    head = {"alg": alg, "typ": "at+jwt", "kid": KEY.kid, **header}
    return jwt.encode(head, claims, key, algorithms=[alg])


_RSA, _EC = RSAKey.generate_key(2048), ECKey.generate_key("P-256")
_NOW = time.time
INVALID: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "one part": lambda: "abc",
    "two parts": lambda: forge().rpartition(".")[0],
    "four parts": lambda: forge() + ".x",
    "five parts, as encrypted ones have": lambda: "a.b.c.d.e",
    "dots": lambda: "..",
    "not base64": lambda: "%%%.%%%.%%%",
    "not ascii": lambda: "é.é.é",
    "NUL": lambda: "\0" + forge(),
    "white space inside": lambda: forge().replace(".", ". "),
    "padded base64": lambda: forge() + "==",
    "10,000 characters": lambda: "a" * 10_000,
    "deep header": lambda: b64(b"[" * 3000) + ".e30.AA",
    "header is no object": lambda: b64(b"[]") + ".e30.AA",
    "header is NaN": lambda: b64(b"NaN") + ".e30.AA",
    "claims are no object": lambda: _signed(b"[]"),
    "claims are deep": lambda: _signed(b'{"a":' + b"[" * 1500 + b"]" * 1500 + b"}"),
    "claims are not JSON": lambda: _signed(b"\xff\xfe"),
    "no signature": lambda: forge().rpartition(".")[0] + ".",
    "short signature": lambda: forge()[:-10],
    "signature of zeros": lambda: forge().rpartition(".")[0] + "." + b64(bytes(64)),
    "alg none": lambda: (
        f"{b64({'alg': 'none', 'typ': 'at+jwt', 'kid': KEY.kid})}.{forge().split('.')[1]}."
    ),
    "alg None": lambda: (
        f"{b64({'alg': 'None', 'typ': 'at+jwt', 'kid': KEY.kid})}.{forge().split('.')[1]}."
    ),
    "alg null": lambda: forge({"alg": None}),
    "alg list": lambda: forge({"alg": ["Ed25519"]}),
    "alg EdDSA, the ambiguous name": lambda: forge({"alg": "EdDSA"}),
    "alg missing": lambda: forge(drop="alg"),
    "HS256 with the public key": lambda: _hs256({"alg": "HS256", "typ": "at+jwt", "kid": KEY.kid}),
    "HS256 that says Ed25519": lambda: _hs256({"alg": "Ed25519", "typ": "at+jwt", "kid": KEY.kid}),
    "RS256": lambda: _with_key(_RSA, "RS256"),
    "ES256": lambda: _with_key(_EC, "ES256"),
    "jwk in the header": lambda: forge(
        {"jwk": OTHER.as_dict(private=False), "kid": OTHER.kid}, key=OTHER
    ),
    "jku": lambda: forge({"jku": "http://127.0.0.1/jwks.json"}),
    "x5u": lambda: forge({"x5u": "http://127.0.0.1/cert"}),
    "crit": lambda: forge({"crit": ["exp"]}),
    "b64": lambda: forge({"b64": False, "crit": ["b64"]}),
    "kid missing": lambda: forge(drop="kid"),
    "kid unknown": lambda: forge({"kid": "nobody"}),
    "kid traversal": lambda: forge({"kid": "../../../../dev/null"}),
    "kid injection": lambda: forge({"kid": "' OR 1=1 --"}),
    "kid is an object": lambda: forge({"kid": {"$ne": None}}),
    "kid of another key": lambda: forge(key=OTHER),
    "typ missing": lambda: forge(drop="typ"),
    "typ JWT": lambda: forge({"typ": "JWT"}),
    "typ of a refresh token": lambda: forge({"typ": "rt+jwt"}),
    "iss missing": lambda: forge(drop="iss"),
    "iss other": lambda: forge(claims={"iss": "you"}),
    "iss list": lambda: forge(claims={"iss": ["me"]}),
    "aud missing": lambda: forge(drop="aud"),
    "aud other": lambda: forge(claims={"aud": "others"}),
    "aud empty": lambda: forge(claims={"aud": []}),
    "aud number": lambda: forge(claims={"aud": 1}),
    "exp missing": lambda: forge(drop="exp"),
    "exp text": lambda: forge(claims={"exp": "9999999999"}),
    "exp true": lambda: forge(claims={"exp": True}),
    "exp NaN": lambda: forge(claims={"exp": float("nan")}),
    "exp infinite": lambda: forge(claims={"exp": float("inf")}),
    "exp huge": lambda: forge(claims={"exp": 10**400}),
    "exp a day ahead": lambda: forge(claims={"exp": int(_NOW()) + 86_400}),
    "exp ten minutes ago": lambda: forge(
        claims={"exp": int(_NOW()) - 600, "iat": int(_NOW()) - 900}
    ),
    "nbf missing": lambda: forge(drop="nbf"),
    "nbf in ten minutes": lambda: forge(claims={"nbf": int(_NOW()) + 600}),
    "iat missing": lambda: forge(drop="iat"),
    "iat in ten minutes": lambda: forge(
        claims={"iat": int(_NOW()) + 600, "exp": int(_NOW()) + 900}
    ),
    "jti missing": lambda: forge(drop="jti"),
    "sub missing": lambda: forge(drop="sub"),
    "sub empty": lambda: forge(claims={"sub": ""}),
    "sub number": lambda: forge(claims={"sub": 7}),
    "sub object": lambda: forge(claims={"sub": {"$ne": None}}),
    "roles missing": lambda: forge(drop="roles"),
    "roles text": lambda: forge(claims={"roles": "ADMIN"}),
}


def _signed(payload: bytes) -> str:
    signed = f"{forge().split('.', maxsplit=1)[0]}.{b64(payload)}"
    return f"{signed}.{b64(KEY.get_op_key('sign').sign(signed.encode()))}"  # type: ignore[union-attr,call-arg]


def _swap_claims() -> str:
    head, _, signature = forge().split(".")
    return f"{head}.{forge(claims={'roles': ['ADMIN']}).split('.')[1]}.{signature}"


INVALID["other claims under the signature"] = _swap_claims


@pytest.mark.parametrize("name", INVALID)
async def test_every_invalid_token_is_refused_in_the_same_words(name: str) -> None:
    one, token = verifier(), INVALID[name]()
    assert await one.verify(forge())  # what is remembered makes nothing else valid
    for _ in range(2):
        assert one.recall(token) is None
        with pytest.raises(InvalidToken) as caught:
            await one.verify(token)
        assert caught.value.detail == "The token is not valid"


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,60}(\.[A-Za-z0-9_-]{0,60}){2}"))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_is_more_than_an_invalid_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        asyncio.run(verifier().verify(text))


@pytest.mark.parametrize("shift", [-30, 30])
async def test_a_clock_half_a_minute_off_is_accepted(shift: int) -> None:
    with time_machine.travel(time.time() + shift, tick=False):
        token = forge()
    assert (await verifier().verify(token)).user_id == "u1"


@pytest.mark.parametrize("shift", [-600, 600])
async def test_a_clock_ten_minutes_off_is_not(shift: int) -> None:
    with time_machine.travel(time.time() + shift, tick=False):
        token = forge()
    with pytest.raises(InvalidToken):
        await verifier().verify(token)


async def test_a_role_that_is_not_known_gives_nothing() -> None:
    principal = await verifier().verify(forge(claims={"roles": ["SUPERUSER", "USER", 7, None]}))
    assert principal.roles == {Role.USER}


@pytest.mark.parametrize(
    "pem",
    ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
     KEY.as_pem(private=False).decode(), _RSA.as_pem(private=True).decode(),
     _EC.as_pem(private=True).decode(),
     OKPKey.generate_key("X25519").as_pem(private=True).decode()],
)  # fmt: skip
def test_a_weak_or_missing_key_stops_the_start(pem: str) -> None:
    with pytest.raises(ValueError, match="key"):
        load_key(pem, private=True)


def test_pem_blocks_are_split_and_rubbish_is_refused() -> None:
    one, two = (key.as_pem(private=False).decode() for key in (KEY, OTHER))
    assert [pem.strip() for pem in split_pem(f"\n{one}\n{two}")] == [one.strip(), two.strip()]
    assert split_pem("") == ()
    with pytest.raises(ValueError, match="PEM"):
        split_pem(f"{one} and more")


class Publisher:
    """An HTTP server's side of a key set."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(
            200, json=issuer().jwks()
        )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        return self.answer()

    def keys(self, **more: Any) -> RemoteJwks:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return RemoteJwks(client, "http://auth/.well-known/jwks.json", **more)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes for the keys: the 2 s between two fetches are not over in any test."""
    clock = SimpleNamespace(monotonic=lambda: 1000.0, time=time.time)
    monkeypatch.setattr("shared.token_keys.time", clock)


def later(keys: RemoteJwks, seconds: float) -> None:
    """As if so much time had passed since the last fetch."""
    keys._fetched -= seconds
    keys._tried -= seconds


@pytest.mark.usefixtures("still")
async def test_keys_are_fetched_once_for_many() -> None:
    publisher = Publisher()
    remote = TokenVerifier(publisher.keys(), "me", "them")
    tokens = [issuer().access("u1", [])[0] for _ in range(20)]
    await asyncio.gather(*(remote.verify(token) for token in tokens))
    assert publisher.calls == 1


@pytest.mark.usefixtures("still")
async def test_unknown_key_ids_cannot_make_it_ask_all_the_time() -> None:
    publisher = Publisher()
    keys = publisher.keys()
    for number in range(50):
        assert await keys.find(f"kid-{number}") is None
    assert publisher.calls == 1


async def test_a_new_key_is_found_when_its_first_token_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publisher = Publisher()
    keys = publisher.keys()
    assert await keys.find(str(KEY.kid)) is not None
    publisher.answer = lambda: httpx.Response(200, json=issuer(OTHER).jwks())
    later(keys, 3)
    assert await keys.find(str(OTHER.kid)) is not None


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(503), httpx.Response(200, json={"keys": []}),
     httpx.Response(200, text="<html>"),
     httpx.Response(200, json={"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": KEY.kid}]})],
)  # fmt: skip
async def test_known_keys_stay_valid_while_their_source_fails(answer: httpx.Response) -> None:
    publisher = Publisher()
    keys = publisher.keys(refresh_s=10)
    assert await keys.find(str(KEY.kid)) is not None
    publisher.answer = lambda: answer
    later(keys, 60)
    assert await keys.find(str(KEY.kid)) is not None
    assert keys._task
    await keys._task  # in the background
    assert publisher.calls == 2
    assert await keys.find(str(KEY.kid)) is not None


@pytest.mark.usefixtures("still")
async def test_without_any_keys_it_says_so_and_does_not_ask_for_each_token() -> None:
    publisher = Publisher()
    publisher.answer = lambda: httpx.Response(500)
    remote = TokenVerifier(publisher.keys(), "me", "them")
    for _ in range(10):
        with pytest.raises(KeysUnavailable):
            await remote.verify(forge())
    assert publisher.calls == 1


async def test_a_published_kid_cannot_stand_for_another_key() -> None:
    fake = {**OTHER.as_dict(private=False), "kid": KEY.kid}
    keys = StaticKeys({"keys": [fake]})
    assert await keys.find(str(KEY.kid)) is None


async def test_keys_are_renewed_every_minute_also_for_tokens_that_are_remembered() -> None:
    publisher = Publisher()
    keys = publisher.keys()
    remote, token = TokenVerifier(keys, "me", "them"), forge()
    await remote.verify(token)
    later(keys, 55)
    assert remote.recall(token)
    assert publisher.calls == 1
    later(keys, 6)
    assert remote.recall(token)
    assert keys._task
    await keys._task
    assert publisher.calls == 2


@pytest.mark.parametrize("remembered", [True, False])
async def test_keys_that_cannot_be_renewed_are_dropped_after_seven_minutes(
    remembered: bool,
) -> None:
    publisher = Publisher()
    keys = publisher.keys()
    remote, token = TokenVerifier(keys, "me", "them"), forge()
    await remote.verify(token)
    publisher.answer = lambda: httpx.Response(500)
    later(keys, 415)
    assert await remote.verify(token if remembered else forge())
    assert keys._task
    await keys._task
    later(keys, 6)
    with pytest.raises(KeysUnavailable):
        await remote.verify(token if remembered else forge())
    assert remote.recall(token) is None
    publisher.answer = lambda: httpx.Response(200, json=issuer().jwks())
    later(keys, 3)
    assert await remote.verify(token)


async def test_a_withdrawn_key_takes_its_remembered_tokens_with_it() -> None:
    publisher = Publisher()
    keys = publisher.keys()
    both = issuer(KEY, (OTHER.as_pem(private=False).decode(),))
    publisher.answer = lambda: httpx.Response(200, json=both.jwks())
    remote = TokenVerifier(keys, "me", "them")
    old = issuer(OTHER).access("u1", [Role.USER])[0]
    assert await remote.verify(old)
    publisher.answer = lambda: httpx.Response(200, json=issuer().jwks())
    later(keys, 61)
    assert remote.recall(old)  # begins to renew them
    assert keys._task
    await keys._task
    assert remote.recall(old) is None
    with pytest.raises(InvalidToken):
        await remote.verify(old)


class Counting(StaticKeys):
    """Counts how often a key is wanted: once for each signature that is verified."""

    found = 0

    async def find(self, kid: str) -> OKPKey | None:
        self.found += 1
        return await super().find(kid)


async def test_a_token_is_verified_once() -> None:
    keys = Counting(issuer().jwks())
    remembering = TokenVerifier(keys, "me", "them")
    token = forge()
    first = await remembering.verify(token)
    assert remembering.recall(token) == first == await remembering.verify(token)
    assert keys.found == 1
    signature_of_another = forge(claims={"jti": "t2"}).rpartition(".")[2]
    mixed = f"{token.rpartition('.')[0]}.{signature_of_another}"
    assert remembering.recall(mixed) is None
    with pytest.raises(InvalidToken):
        await remembering.verify(mixed)


@pytest.mark.parametrize(
    ("claims", "shifts"),
    [
        # accepted from LEEWAY_S before it begins until LEEWAY_S after it ends, and no longer
        ({}, {0: True, 299.5 + LEEWAY_S: True, 300 + LEEWAY_S: False, 0.5 - LEEWAY_S: True}),
        ({}, {-1.5 - LEEWAY_S: False}),
        ({"nbf": 30}, {0: True, 29 - LEEWAY_S: False, 31 - LEEWAY_S: True}),
    ],
)
async def test_a_remembered_token_is_valid_as_long_as_the_token(
    claims: dict[str, int], shifts: dict[float, bool]
) -> None:
    start = int(time.time())
    with time_machine.travel(start, tick=False):
        token = forge(claims={name: start + value for name, value in claims.items()})
        remembering = verifier()
        assert await remembering.verify(token)
    for shift, valid in shifts.items():
        with time_machine.travel(start + shift, tick=False):
            assert (remembering.recall(token) is not None) == valid, shift
            try:
                fresh: Principal | None = await verifier().verify(token)
            except InvalidToken:
                fresh = None
            assert (fresh is not None) == valid, shift


async def test_no_more_is_remembered_than_allowed() -> None:
    one = TokenVerifier(StaticKeys(issuer().jwks()), "me", "them", remembered=3)
    tokens = [forge(claims={"jti": f"t{number}"}) for number in range(5)]
    for token in tokens:
        await one.verify(token)
    assert [one.recall(token) is not None for token in tokens] == [False, False, True, True, True]
