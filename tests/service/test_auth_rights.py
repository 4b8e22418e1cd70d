"""Who may administer is asked of the database, and somebody always may."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from auth import signals
from plainview.testing import metric_delta
from shared.errors import Conflict
from shared.tokens import Role
from tests.support.auth_app import PASSWORD, AuthApp, auth_app


async def give(app: AuthApp, user_id: str, headers: dict[str, str], *roles: str) -> httpx.Response:
    path = f"/api/v1/auth/users/{user_id}/roles"
    return await app.client.put(path, json={"roles": roles}, headers=headers)


async def test_roles_given_by_an_administrator_are_in_the_next_token(auth):
    user_id = await auth.registered()
    admin_id, admin = await auth.administrator()
    others = auth.bearer(admin_id, Role.USER, Role.OPERATOR, Role.AUDITOR)
    assert (await give(auth, user_id, others, "OPERATOR")).status_code == 403
    reply = await give(auth, user_id, admin, "OPERATOR", "USER", "USER")
    assert (reply.status_code, reply.json()["roles"]) == (200, ["OPERATOR", "USER"])
    tokens = await auth.signed_in()
    principal = await auth.app.state.deps.verifier.verify(tokens["access_token"])
    assert principal.roles == {Role.OPERATOR, Role.USER}
    assert (await give(auth, "0" * 32, admin, "USER")).status_code == 404


@pytest.mark.parametrize("end", ["demoted", "disabled", "password changed", "gone", "promoted"])
async def test_a_token_that_was_overtaken_by_the_database_administers_nothing(auth, end):
    _, admin = await auth.administrator()
    second_id, second = await auth.administrator("second@example.com")
    match end:
        case "demoted":
            assert (await give(auth, second_id, admin, "USER")).status_code == 200
        case "disabled":
            await auth.accounts.disable("second@example.com")
        case "password changed":
            user = await auth.users.get(second_id)
            assert await auth.users.set_password(user, "another hash")
        case "gone":
            del auth.stored[second_id]
        case "promoted":  # a right that the token does not have yet
            second_id = await auth.registered()
            assert (await give(auth, second_id, admin, "ADMIN")).status_code == 200
            second = auth.bearer(second_id, Role.USER)
    before = repr(auth.stored)
    reply = await give(auth, second_id, second, "ADMIN", "USER")
    assert reply.status_code == (403 if end in ("demoted", "promoted") else 401), reply.text
    assert repr(auth.stored) == before


async def test_the_last_administrator_stays(auth):
    admin_id, admin = await auth.administrator()
    second_id, _ = await auth.administrator("second@example.com")
    await auth.accounts.disable("second@example.com")  # it does not count any more
    reply = await give(auth, admin_id, admin, "USER", "AUDITOR")
    assert (reply.status_code, reply.json()["code"]) == (409, "last_administrator")
    with pytest.raises(Conflict):
        await auth.accounts.disable("admin@example.com")
    assert (await give(auth, admin_id, admin, "ADMIN", "AUDITOR")).status_code == 200
    assert (await give(auth, second_id, admin, "USER")).status_code == 200  # disabled: no loss


async def test_two_administrators_that_remove_each_other_at_once_leave_one(auth):
    one, as_one = await auth.administrator("one@example.com")
    two, as_two = await auth.administrator("two@example.com")
    replies = await asyncio.gather(
        give(auth, two, as_one, "USER"),
        give(auth, one, as_two, "USER"),
        give(auth, one, as_one, "USER"),
        give(auth, two, as_two, "USER"),
    )
    assert Counter(reply.status_code for reply in replies)[200] == 1
    assert sum(Role.ADMIN in user["roles"] for user in auth.stored.values()) == 1


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("ann@example.com", "ANN@Example.COM"),
        ("ann@example.com", "\uff21\uff2e\uff2e@example.com"),  # full-width letters
        ("j\u00f6rg@example.com", "jo\u0308rg@example.com"),  # put together from two
        ("j\u00f6rg@example.com", "J\u00d6RG@example.com"),
        ("ann@b\u00fccher.example", "ann@xn--bcher-kva.example"),
        ("ann@b\u00fccher.example", "ann@BU\u0308CHER.example"),
        ("o\ufb03ce@example.com", "office@example.com"),  # a ligature
        ("\u03c3\u03c2@example.com", "\u03a3\u03a3@example.com"),  # two forms of sigma
    ],
)
async def test_one_mailbox_is_one_account_however_it_is_written(auth, stored, given):
    await auth.registered(stored)
    body = {"email": given, "password": PASSWORD, "display_name": "B"}
    async with metric_delta(signals.SIGN_UPS, outcome="duplicate") as duplicate:
        reply = await auth.post("register", **body)
    assert (reply.status_code, reply.json()["code"]) == (409, "email_taken")
    assert duplicate.value == 1
    assert (await auth.post("login", email=given, password=PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    "address",
    ["Ann <ann@example.com>", "ann@example.com ", "ann", "@example.com", "ann@", "a@b@example.com",
     "ann@example", '"ann"@example.com', "ann@[127.0.0.1]", "ann@example.com.",
     "a\u0000@example.com", "a\u202e@example.com", "ann@exam_ple.com", "ann@xn--.com",
     "ann..b@example.com", "a" * 65 + "@example.com", "ann@" + "a" * 64 + ".com"],
)  # fmt: skip
async def test_what_is_no_mailbox_is_refused_and_not_quoted(auth, address):
    reply = await auth.post("login", email=address, password=PASSWORD)
    assert reply.status_code == 422
    assert address not in reply.text


@pytest.mark.parametrize(
    "name", ["a\nb", "a\u0000", "\u001b[31m", "a\u2028b", "a\u202eb", "\u0085"]
)
async def test_a_name_is_one_line(auth, name):
    body: dict[str, Any] = {"email": "a@example.com", "password": PASSWORD}
    assert (await auth.post("register", **body, display_name=name)).status_code == 422
    assert (
        await auth.post("register", **body, display_name="Zo\u00eb \U0001f469\u200d\U0001f692")
    ).status_code == 201


async def sign_in(app: AuthApp, address: str, password: str = PASSWORD) -> int:
    headers = {"X-Forwarded-For": address}
    body = {"email": "ann@example.com", "password": password}
    return (await app.client.post("/api/v1/auth/login", json=body, headers=headers)).status_code


@pytest.mark.parametrize(
    ("home", "beside", "elsewhere"),
    [
        ("198.51.100.7", "198.51.100.200", "198.51.101.7"),
        ("2001:db8:1:2::7", "2001:db8:1:2:ffff::1", "2001:db8:1:3::7"),
        ("::1", "::2", "0:0:0:1::1"),
    ],
)
async def test_a_strangers_failures_do_not_shut_the_owner_out_of_places_known(
    home, beside, elsewhere
):
    async with auth_app(auth_account_limit="3/5 minutes") as app:
        await app.registered()
        assert await sign_in(app, home) == 200
        assert [await sign_in(app, "203.0.113.66", "a wrong one") for _ in range(5)] == [
            401, 401, 401, 429, 429,
        ]  # fmt: skip
        assert await sign_in(app, elsewhere) == 429  # who has never been there cannot be told apart
        assert await sign_in(app, beside) == 200
        # guesses from a place that is known are counted there
        assert [await sign_in(app, home, "a wrong one") for _ in range(4)] == [401, 401, 401, 429]
        assert await sign_in(app, beside) == 429


async def test_places_are_few_forgotten_and_not_written_down(monkeypatch):
    async with auth_app(auth_account_limit="1000/5 minutes") as app:
        user_id = await app.registered()
        for number in range(12):
            assert await sign_in(app, f"198.51.{number}.7") == 200
        known = app.stored[user_id]["known"]
        assert len(known) == 10
        assert "198.51" not in str(known)
        times = iter([max(known.values()) + 30 * 24 * 3600 + 1] * 100)
        monkeypatch.setattr("auth.service.time.time", lambda: next(times))
        assert await sign_in(app, "203.0.113.1") == 200
        assert len(app.stored[user_id]["known"]) == 1
