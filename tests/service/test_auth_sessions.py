"""Refresh tokens: single use, repeats, replays, and what ends a session."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import time_machine

from auth import signals
from plainview.testing import captured_logs, metric_delta
from tests.support.auth_app import PASSWORD, AuthApp, auth_app

NEW = "another long passphrase"


async def refresh(app: AuthApp, token: str) -> httpx.Response:
    return await app.post("refresh", refresh_token=token)


def counted(outcome: str) -> metric_delta:
    return metric_delta(signals.REFRESHES, outcome=outcome)


@pytest.fixture
async def token(auth):
    """The refresh token of a user who has just signed in."""
    await auth.registered()
    return (await auth.signed_in())["refresh_token"]


async def test_a_refresh_token_works_once_and_gives_the_next(auth, token):
    with counted("rotated") as rotated:
        for _ in range(3):
            reply = await refresh(auth, token)
            assert reply.status_code == 200
            assert reply.headers["Cache-Control"] == "no-store"
            assert reply.json()["refresh_token"] != token
            token = reply.json()["refresh_token"]
    assert rotated.value == 3
    bearer = {"Authorization": f"Bearer {reply.json()['access_token']}"}
    assert (await auth.client.get("/api/v1/auth/me", headers=bearer)).status_code == 200


async def test_a_repeat_within_10_seconds_is_a_conflict_and_revokes_nothing(auth, token):
    second = (await refresh(auth, token)).json()["refresh_token"]
    with counted("repeated") as repeated:
        reply = await refresh(auth, token)
    assert (reply.status_code, reply.json()["code"]) == (409, "refresh_repeated")
    assert repeated.value == 1
    third = (await refresh(auth, second)).json()["refresh_token"]
    assert (await refresh(auth, token)).status_code == 409  # two rotations ago, still a moment
    assert (await refresh(auth, third)).status_code == 200


async def test_of_20_parallel_exactly_one_wins(auth, token):
    replies = await asyncio.gather(*(refresh(auth, token) for _ in range(20)))
    codes = [reply.status_code for reply in replies]
    assert (codes.count(200), codes.count(409)) == (1, 19)
    winner = next(reply for reply in replies if reply.status_code == 200)
    assert (await refresh(auth, winner.json()["refresh_token"])).status_code == 200


async def test_a_later_replay_revokes_the_family_and_is_told(auth):
    await auth.registered()
    other_device = (await auth.signed_in())["refresh_token"]
    stolen = (await auth.signed_in())["refresh_token"]
    current = (await refresh(auth, stolen)).json()["refresh_token"]
    with (
        time_machine.travel(time.time() + 11),
        counted("reused") as reused,
        captured_logs() as lines,
    ):
        reply = await refresh(auth, stolen)
    assert (reply.status_code, reply.json()["code"]) == (401, "refresh_reused")
    assert reused.value == 1
    (line,) = [line for line in lines if line["event"] == "refresh_token.reused"]
    assert line["log_type"] == "security"
    assert line["user_id"]
    assert line["trace_id"]
    assert (await refresh(auth, current)).status_code == 401
    assert (await refresh(auth, other_device)).status_code == 200


async def test_only_hashes_are_kept(auth, token):
    await refresh(auth, token)
    assert token.split(".")[1] not in repr(auth.families)


async def test_sessions_expire(auth, token):
    (family,) = auth.families.values()
    left = family["expires_at"] - datetime.now(UTC)
    assert 29 <= left.days <= 30
    # times are whole milliseconds
    family["expires_at"] = datetime.now(UTC) - timedelta(milliseconds=1)
    with counted("expired") as expired:
        assert (await refresh(auth, token)).status_code == 401
    assert expired.value == 1


async def test_an_access_token_is_no_refresh_token_nor_the_other_way_round(auth):
    await auth.registered()
    tokens = await auth.signed_in()
    with counted("invalid") as invalid:
        reply = await auth.post("refresh", refresh_token=tokens["access_token"][:200])
    assert reply.status_code == 401
    assert invalid.value == 1
    bearer = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    assert (await auth.client.get("/api/v1/auth/me", headers=bearer)).status_code == 401


@pytest.mark.parametrize("token", ["x", ".", "..", "a.b", "\0.\0", "$ne.x", "*", "é.é"])
async def test_invented_refresh_tokens_are_401(auth, token):
    assert (await refresh(auth, token)).status_code == 401
    assert (await auth.post("logout", refresh_token=token)).status_code == 204


async def test_logout_ends_one_session(auth):
    await auth.registered()
    here, there = [(await auth.signed_in())["refresh_token"] for _ in range(2)]
    assert (await auth.post("logout", refresh_token=here)).status_code == 204
    assert (await refresh(auth, here)).status_code == 401
    assert (await refresh(auth, there)).status_code == 200


async def test_another_password_ends_all_sessions(auth):
    await auth.registered()
    sessions = [await auth.signed_in() for _ in range(2)]
    auth.headers = {"Authorization": f"Bearer {sessions[0]['access_token']}"}
    wrong = await auth.post("password", current_password="not the one", new_password=NEW)
    assert (wrong.status_code, wrong.json()["code"]) == (403, "bad_credentials")
    weak = await auth.post("password", current_password=PASSWORD, new_password="password1")
    assert (weak.status_code, weak.json()["code"]) == (422, "weak_password")
    done = await auth.post("password", current_password=PASSWORD, new_password=NEW)
    assert done.status_code == 204
    for session in sessions:
        assert (await refresh(auth, session["refresh_token"])).status_code == 401
    old = await auth.post("login", email="ann@example.com", password=PASSWORD)
    new = await auth.post("login", email="ann@example.com", password=NEW)
    assert (old.status_code, new.status_code) == (401, 200)


async def test_a_session_of_the_old_password_cannot_slip_through(auth):
    """A sign-in that read the user before the change stores its family after it."""
    user_id = await auth.registered()
    await auth.signed_in()
    ((key, late),) = auth.families.items()
    user = await auth.users.get(user_id)
    await auth.accounts.change_password(user_id, PASSWORD, NEW, "a")
    assert auth.families == {}
    auth.families[key] = late
    assert user.epoch == late["epoch"]
    assert await auth.users.sign_in(user, {"id": "1"}, {}) is None
    with counted("invalid") as invalid:
        assert (await refresh(auth, f"{key}.whatever")).status_code == 401
    assert invalid.value == 1


async def test_guessing_the_current_password_with_a_token_is_limited_too():
    async with auth_app(auth_account_limit="3/minute") as app:
        await app.registered()
        tokens = await app.signed_in()
        app.headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        codes = [
            (
                await app.post("password", current_password=f"guess {n}", new_password=NEW)
            ).status_code
            for n in range(5)
        ]
        assert codes == [403] * 3 + [429] * 2
