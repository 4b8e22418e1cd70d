"""Odd requests, roles as documented, keys."""

import json
from typing import Any

import pytest
from joserfc.jwk import OKPKey

from auth.settings import Settings
from ops.secrets import new_signing_key
from shared.token_keys import StaticKeys
from shared.tokens import Role, TokenVerifier
from tests.support.auth_app import PASSWORD, auth_app, auth_settings

DEEP = "[" * 10_000 + "]" * 10_000
ODD: dict[str, Any] = {
    "operators": '{"email":{"$ne":null},"password":{"$ne":null}}',
    "operator as password": '{"email":"a@example.com","password":{"$gt":""}}',
    "list": '{"email":["a@example.com"],"password":"x"}',
    "null": '{"email":null,"password":null}',
    "number": '{"email":1,"password":1}',
    "NaN": '{"email":NaN,"password":NaN}',
    "no object": "[]",
    "nothing": "",
    "not JSON": "{",
    "deep": DEEP,
    "deep inside": '{"email":' + DEEP + "}",
    "not UTF-8": b'{"email":"\xff\xfe"}',
    "NUL in the address": '{"email":"a\\u0000@example.com","password":"x"}',
    "half a character": '{"email":"a@example.com","password":"\\ud800 and more"}',
    "long address": json.dumps({"email": "a" * 500 + "@example.com", "password": "x"}),
    "long password": json.dumps({"email": "a@example.com", "password": "x" * 1_000_000}),
    "empty password": '{"email":"a@example.com","password":""}',
    "extra": '{"email":"a@example.com","password":"x","role":"ADMIN"}',
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_bodies_are_the_clients_mistake(auth, name, monkeypatch):
    monkeypatch.setattr(auth.accounts.passwords, "_run", None)  # nothing of it is ever hashed
    for path in ("register", "login", "refresh", "logout"):
        reply = await auth.client.post(
            f"/api/v1/auth/{path}", content=ODD[name], headers={"Content-Type": "application/json"}
        )
        assert reply.status_code in (400, 413, 422), (path, reply.text)
        assert reply.headers["content-type"] == "application/problem+json"
        assert len(reply.content) < 5000
        assert "ud800" not in reply.text


@pytest.mark.parametrize("extra", ["roles", "role", "id", "disabled", "epoch", "created_at"])
async def test_nobody_registers_with_more_than_asked(auth, extra):
    body = {"email": "a@example.com", "password": PASSWORD, "display_name": "A", extra: "ADMIN"}
    assert (await auth.post("register", **body)).status_code == 422
    assert not auth.stored


@pytest.mark.parametrize(
    ("password", "status"),
    [("1234567", 422), ("baseball9", 422), ("7 words", 422), ("eight chars!", 201),
     ("x" * 127 + "y", 201),
     ("x" * 128 + "y", 422), ("비밀번호를 잊지 마", 201)],
)  # fmt: skip
async def test_passwords_of_8_to_128_characters(auth, password, status):
    body = {"email": "a@example.com", "password": password, "display_name": "A"}
    reply = await auth.post("register", **body)
    assert reply.status_code == status
    assert password not in reply.text


async def test_each_route_lets_in_whom_its_document_names(auth):
    user_id = await auth.registered()
    checked = 0
    for path, operations in auth.app.openapi()["paths"].items():
        for method, operation in operations.items():
            allowed = operation["x-roles"]
            url = path.replace("{id}", user_id)
            without = await auth.client.request(method, url)
            if not allowed:  # public: it gets as far as the body
                assert without.status_code in (200, 422), path
                continue
            assert without.status_code == 401, path
            assert without.headers["WWW-Authenticate"].startswith("Bearer")
            for role in Role:
                bearer = auth.bearer(user_id, role)
                status = (await auth.client.request(method, url, headers=bearer)).status_code
                assert (status in (200, 422)) is (role in allowed), (path, role, status)
                assert status in (200, 403, 422)
                checked += 1
    assert checked == 12


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer a b", "Basic YTpi", "bearer x", "Bearer a.b.c",
     "Bearer " + "a" * 9000, "Bearer \x01", "é"],
)  # fmt: skip
async def test_malformed_tokens_are_401_and_not_echoed(auth, header):
    raw = {"Authorization": header.encode()}
    reply = await auth.client.get("/api/v1/auth/me", headers=raw)
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(header) < 12 or header[7:] not in reply.text
    assert reply.json()["request_id"] == reply.headers["X-Request-ID"]


async def test_two_authorizations_are_none(auth):
    bearer = auth.bearer(await auth.registered(), Role.USER)["Authorization"]
    headers = [("Authorization", bearer), ("Authorization", bearer)]
    assert (await auth.client.get("/api/v1/auth/me", headers=headers)).status_code == 401


async def test_two_keys_are_published_and_tokens_verify_on_them():
    old = new_signing_key()
    async with auth_app(auth_signing_key=old) as before:
        token, _ = before.issuer.access("u1", [Role.USER])
    public = OKPKey.import_key(old.encode()).as_pem(private=False).decode()
    async with auth_app(auth_previous_keys=public) as app:
        reply = await app.client.get("/.well-known/jwks.json")
        assert "max-age" in reply.headers["Cache-Control"]
        assert len(reply.json()["keys"]) == 2
        assert all("d" not in key for key in reply.json()["keys"])
        verifier = TokenVerifier(StaticKeys(reply.json()), "event-rewards", "event-rewards")
        assert (await verifier.verify(token)).user_id == "u1"
        assert (await app.app.state.deps.verifier.verify(token)).user_id == "u1"


@pytest.mark.parametrize("change", [{"auth_signing_key": "weak"}, {"auth_previous_keys": "no PEM"}])
def test_weak_secrets_do_not_start(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        auth_settings(**change)


def test_settings_do_not_show_their_secrets():
    pem = new_signing_key()
    settings: Settings = auth_settings(auth_signing_key=pem)
    assert pem.split("\n")[1] not in repr(settings)
