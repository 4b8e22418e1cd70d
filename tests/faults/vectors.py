"""Requests and tokens that a service must refuse: bytes of a wire and forged access tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from tests.support.messages import BAD_CHUNKS, LINES, REFUSED

ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's base point
SMALL_ORDER_POINT = bytes([1] + [0] * 31)  # the neutral element: a public key of nobody


def encode(data: bytes | Mapping[str, Any]) -> str:
    """Base64 for URLs without padding, of bytes or of a JSON document."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Forger:
    """Makes access tokens with auth's own key, for what else can be wrong with one."""

    def __init__(self, private_pem: str, kid: str, user: str) -> None:
        key = serialization.load_pem_private_key(private_pem.encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key, self._kid, self._user = key, kid, user

    @property
    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def header(self, **change: Any) -> dict[str, Any]:
        return _without_none({"alg": "Ed25519", "typ": "at+jwt", "kid": self._kid, **change})

    def claims(self, shift_s: float = 0, **change: Any) -> dict[str, Any]:
        """As auth makes them, by a clock that is `shift_s` ahead."""
        now = int(time.time() + shift_s)
        known = {
            "iss": "event-rewards",
            "aud": "event-rewards",
            "sub": self._user,
            "roles": ["USER"],
            "jti": uuid4().hex,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
        }
        return _without_none({**known, **change})

    def token(self, header: Any = None, claims: Any = None) -> str:
        """Signed, whatever it says."""
        signed = f"{encode(header or self.header())}.{encode(claims or self.claims())}"
        return f"{signed}.{encode(self._key.sign(signed.encode()))}"

    def invalid(self) -> Iterator[tuple[str, str]]:
        """Names and tokens that no service may accept."""
        yield from self._claims_wrong()
        yield from self._headers_wrong()
        yield from self._signatures_wrong()
        yield from self._forms_wrong()

    def _claims_wrong(self) -> Iterator[tuple[str, str]]:
        for name in ("iss", "aud", "sub", "roles", "jti", "iat", "nbf", "exp"):
            yield f"no {name}", self.token(claims=self.claims(**{name: None}))
        for name, value in (
            ("iss", "another"), ("iss", ["event-rewards"]), ("aud", "another"), ("aud", []),
            ("aud", {"event-rewards": 1}), ("roles", "USER"), ("roles", {"USER": 1}), ("roles", 1),
            ("exp", "soon"), ("exp", -1), ("exp", 10**400), ("nbf", "now"), ("iat", []),
            ("sub", 1), ("sub", {"$ne": ""}), ("sub", ["a"]),
        ):  # fmt: skip
            token = self.token(claims=self.claims(**{name: value}))
            yield f"{name} is {str(value)[:20]}", token
        for shift_s in (-600, 600):
            yield f"a clock {shift_s} s away", self.token(claims=self.claims(shift_s))
        yield "lives for a year", self.token(claims=self.claims(exp=int(time.time()) + 31_536_000))
        for name in ("NaN", "Infinity", "-Infinity"):
            body = json.dumps(self.claims(exp=0)).replace('"exp": 0', f'"exp": {name}').encode()
            yield f"exp is {name}", self.token(claims=body)
        for name, body in (
            ("claims are a list", b"[]"), ("claims are a string", b'"a"'),
            ("claims are null", b"null"),
            ("claims are no JSON", b"{"), ("claims are deep", b"[" * 5000 + b"]" * 5000),
            ("claims are no UTF-8", b"\xff\xfe"),
        ):  # fmt: skip
            yield name, self.token(claims=body)

    def _headers_wrong(self) -> Iterator[tuple[str, str]]:
        for change in (
            {"alg": None}, {"alg": "none"}, {"alg": "None"}, {"alg": "HS256"}, {"alg": "ES256"},
            {"alg": "RS256"}, {"alg": 1}, {"alg": ["Ed25519"]}, {"alg": ""},
            {"typ": None}, {"typ": "JWT"}, {"typ": "refresh+jwt"}, {"typ": 1},
            {"kid": None}, {"kid": "unknown"}, {"kid": "../../../../dev/null"}, {"kid": ""},
            {"kid": "' OR 1=1 --"}, {"kid": {"$ne": ""}}, {"kid": 1}, {"kid": "a" * 4000},
            {"kid": "http://127.0.0.1:1/jwks.json"}, {"kid": "\x00"}, {"kid": "\ud800"},
            {"jku": "http://127.0.0.1:1/jwks.json"}, {"x5u": "http://127.0.0.1:1/"},
            {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encode(bytes(32))}}, {"x5c": ["MII"]},
            {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"zip": "DEF"}, {"cty": "JWT"},
        ):  # fmt: skip
            yield f"header {str(change)[:40]}", self.token(header=self.header(**change))
        for name, body in (
            ("header is a list", b"[]"), ("header is null", b"null"), ("header is no JSON", b"{"),
            ("header is deep", b"[" * 5000 + b"]" * 5000), ("header is no UTF-8", b"\xff\xfe"),
        ):  # fmt: skip
            yield name, self.token(header=body)

    def _signatures_wrong(self) -> Iterator[tuple[str, str]]:
        good = self.token()
        signed, _, signature = good.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        point, scalar = raw[:32], int.from_bytes(raw[32:], "little")
        for name, wrong in (
            ("no signature", b""), ("zeros", bytes(64)), ("ones", b"\xff" * 64),
            ("cut", raw[:-1]), ("half", raw[:32]), ("one byte more", raw + b"\0"),
            ("twice", raw * 2), ("a bit changed", bytes([raw[0] ^ 1]) + raw[1:]),
            ("halves swapped", raw[32:] + raw[:32]),
            ("S + L, which means the same", point + (scalar + ORDER).to_bytes(32, "little")),
            ("S = 0", point + bytes(32)), ("S = L", point + ORDER.to_bytes(32, "little")),
            ("R is the neutral point", SMALL_ORDER_POINT + raw[32:]),
            ("R neutral, S = 0", SMALL_ORDER_POINT + bytes(32)),
        ):  # fmt: skip
            yield f"signature: {name}", f"{signed}.{encode(wrong)}"
        other = Ed25519PrivateKey.generate()
        yield "another's key", f"{signed}.{encode(other.sign(signed.encode()))}"
        head, claims, _ = good.split(".")
        changed = encode(self.claims(roles=["ADMIN"]))
        yield "claims changed", f"{head}.{changed}.{signature}"
        yield "header changed", f"{encode(self.header(kid='x'))}.{claims}.{signature}"
        for alg, secret in (("HS256", self.public_pem), ("HS256", b""), ("HS512", self.public_pem)):
            signed = f"{encode(self.header(alg=alg))}.{encode(self.claims(roles=['ADMIN']))}"
            digest = hashlib.sha256 if alg == "HS256" else hashlib.sha512
            mac = hmac.new(secret, signed.encode(), digest).digest()
            yield f"{alg} with {len(secret)} public bytes", f"{signed}.{encode(mac)}"
        rsa_key = rsa.generate_private_key(65537, 2048)
        signed = f"{encode(self.header(alg='RS256'))}.{encode(self.claims())}"
        mac = rsa_key.sign(signed.encode(), PKCS1v15(), hashes.SHA256())
        yield "RS256 by another", f"{signed}.{encode(mac)}"
        ec_key = ec.generate_private_key(ec.SECP256R1())
        signed = f"{encode(self.header(alg='ES256'))}.{encode(self.claims())}"
        mac = ec_key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        yield "ES256 by another", f"{signed}.{encode(mac)}"
        yield "ES256, all zeros", f"{signed}.{encode(bytes(64))}"

    def _forms_wrong(self) -> Iterator[tuple[str, str]]:
        good = self.token()
        head, claims, signature = good.split(".")
        for name, token in (
            ("empty parts", ".."), ("one part", head), ("two parts", f"{head}.{claims}"),
            ("four parts", f"{good}.{signature}"), ("five parts", f"{good}.{head}.{claims}"),
            ("no header", f".{claims}.{signature}"), ("no claims", f"{head}..{signature}"),
            ("dots only", "." * 50), ("no token at all", "not-a-token"), ("a bracket", "{}"),
            ("as JSON", json.dumps({"payload": claims, "protected": head, "signature": signature})),
            ("padded", f"{head}==.{claims}.{signature}"),
            ("with +/", good.replace("-", "+", 1) + "+/"),
            ("a space inside", f"{head}. {claims}.{signature}"), ("quoted", f'"{good}"'),
            ("two in one", f"{good} {good}"), ("two with a comma", f"{good},{good}"),
            ("long", good + "A" * 8000), ("long and empty", "A" * 12_000),
            ("Latin-1", "\xe9" * 20), ("percent", "%00%0a"), ("a template", "${jndi:ldap://x}"),
        ):  # fmt: skip
            yield f"form: {name}", token


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def malformed() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of requests that are not HTTP/1.1 as RFC 9112 has it."""
    target, json_ = b"/api/v1/auth/login", b"Content-Type: application/json"

    def post(
        *lines: bytes, start: bytes = b"POST %b HTTP/1.1" % target, body: bytes = b""
    ) -> bytes:
        return b"\r\n".join([start, *lines, b"", body])

    for name, form in LINES.items():
        start = form % target if b"%b" in form else form
        yield f"start line: {name}", post(b"Host: x", start=start)
    for name, lines in REFUSED.items():
        host = [] if "host" in name else [b"Host: x"]
        yield f"header: {name}", post(*host, json_, *lines, body=b"{}")
    for name, body in BAD_CHUNKS.items():
        chunked = b"Transfer-Encoding: chunked"
        yield f"chunks: {name}", post(b"Host: x", json_, chunked, body=body)
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS", bytes.fromhex("16030100a5010000a10303") + bytes(64) + b"\r\n\r\n"
    yield "PROXY protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + post(b"Host: x")
    yield "noise", bytes(range(256)) + b"\r\n\r\n"
    yield "header: first line folded", post(b" X: a", b"Host: x")
    yield "header: 20 KB", post(b"Host: x", b"X-Long: " + b"a" * 20_000)
    many = [b"X-%d: " % number + b"a" * 60 for number in range(400)]
    yield "header: 400 of 60 bytes", post(b"Host: x", *many)
    yield "target of 20 KB", post(b"Host: x", start=b"GET /" + b"a" * 20_000 + b" HTTP/1.1")
