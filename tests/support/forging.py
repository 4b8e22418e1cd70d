"""Access tokens that no service may accept, made with auth's own key where that can be."""

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

ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's base point
SMALL_ORDER_POINT = bytes([1] + [0] * 31)  # the neutral element: a public key of nobody


def encode(data: bytes | Mapping[str, Any]) -> str:
    """Base64 for URLs without padding, of bytes or of a JSON document."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Forger:
    """Makes access tokens of an issuer with its key, for what else can be wrong with one."""

    def __init__(
        self,
        private_pem: str,
        kid: str,
        user: str,
        issuer: str = "event-rewards",
        audience: str = "event-rewards",
    ) -> None:
        key = serialization.load_pem_private_key(private_pem.encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key, self._kid, self._user = key, kid, user
        self._issuer, self._audience = issuer, audience

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
            "iss": self._issuer,
            "aud": self._audience,
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
            ("iss", "another"), ("iss", [self._issuer]), ("aud", "another"), ("aud", []),
            ("aud", 1), ("aud", {self._audience: 1}),
            ("roles", "USER"), ("roles", {"USER": 1}), ("roles", 1),
            ("exp", "soon"), ("exp", "9999999999"), ("exp", True), ("exp", -1), ("exp", 10**400),
            ("nbf", "now"), ("iat", []),
            ("sub", ""), ("sub", 1), ("sub", {"$ne": ""}), ("sub", ["a"]),
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
            {"alg": "EdDSA"},
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
            ("header is NaN", b"NaN"),
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
        public = encode(other.public_key().public_bytes_raw())
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": public}
        own = f"{encode(self.header(jwk=jwk))}.{encode(self.claims())}"
        yield "another's key, in the header", f"{own}.{encode(other.sign(own.encode()))}"
        head, claims, _ = good.split(".")
        changed = encode(self.claims(roles=["ADMIN"]))
        yield "claims changed", f"{head}.{changed}.{signature}"
        yield "header changed", f"{encode(self.header(kid='x'))}.{claims}.{signature}"
        for alg, secret in (
            ("HS256", self.public_pem), ("HS256", b""), ("HS512", self.public_pem),
            ("Ed25519", self.public_pem),  # as it says, and a MAC
        ):  # fmt: skip
            signed = f"{encode(self.header(alg=alg))}.{encode(self.claims(roles=['ADMIN']))}"
            digest = hashlib.sha512 if alg == "HS512" else hashlib.sha256
            mac = hmac.new(secret, signed.encode(), digest).digest()
            yield f"{alg} with {len(secret)} public bytes", f"{signed}.{encode(mac)}"
        unsigned = f"{encode(self.header(alg='none'))}.{encode(self.claims(roles=['ADMIN']))}."
        yield "none, without a signature", unsigned
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
            ("dots only", "." * 50), ("not base64", "%%%.%%%.%%%"),
            ("no token at all", "not-a-token"), ("a bracket", "{}"),
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
