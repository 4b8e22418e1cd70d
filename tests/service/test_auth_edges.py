"""What may be registered, tokens and keys."""

import pytest
from joserfc.jwk import OKPKey

from ops.secrets import new_signing_key
from shared.token_keys import StaticKeys
from shared.tokens import Role, TokenVerifier
from tests.support.auth_app import PASSWORD, auth_app, auth_settings


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


async def test_two_authorizations_are_none(auth):
    bearer = auth.bearer(await auth.registered(), Role.USER)["Authorization"]
    headers = [("Authorization", bearer), ("Authorization", bearer)]
    assert (await auth.client.get("/api/v1/auth/me", headers=headers)).status_code == 401


async def test_two_keys_are_published_and_tokens_verify_on_them(no_worker_threads):
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
