"""Registration and sign-in through the real app."""

import asyncio
import json
import threading
import time

import time_machine

from auth import signals
from auth.passwords import Checked, Passwords
from plainview.testing import captured_logs, metric_delta
from shared.password_hash import Hasher
from tests.support.auth_app import PASSWORD, auth_app
from tests.support.waiting import soon

ANN = {"email": "ann@example.com", "password": PASSWORD}


async def test_a_user_registers_signs_in_and_is_known(auth):
    body = {"email": "Ann@Example.COM", "password": PASSWORD, "display_name": "Ann 안"}
    async with metric_delta(signals.SIGN_UPS, outcome="created") as created:
        reply = await auth.post("register", **body)
    assert reply.status_code == 201
    assert created.value == 1
    user = reply.json()
    assert set(user) == {"id", "email", "display_name", "roles", "created_at"}
    assert (user["email"], user["roles"]) == ("ann@example.com", ["USER"])
    async with metric_delta(signals.SIGN_INS, outcome="success") as success:
        tokens = await auth.signed_in("ANN@example.com")
    assert success.value == 1
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 300)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = await auth.client.get("/api/v1/auth/me", headers=bearer)
    assert me.json() == user


async def test_each_sign_in_gives_one_security_line_that_names_nobody():
    async with auth_app(auth_account_limit="2/minute") as app:
        user_id = await app.registered()
        with captured_logs() as lines:
            await app.post("login", **ANN)
            for _ in range(3):
                await app.post("login", **ANN | {"password": "not the one"})
        security = [line for line in lines if line["log_type"] == "security"]
        assert [(line["event"], line.get("outcome")) for line in security] == [
            ("sign_in.succeeded", None),
            *[("sign_in.failed", "bad_credentials")] * 2,
            ("sign_in.failed", "limited"),
        ]
        for line in security:
            assert len(line["trace_id"]) == 32
            assert line["request_id"]
        assert len({line["account"] for line in security}) == 1
        text = json.dumps(lines)
        assert [word for word in ("ann@example", user_id, PASSWORD) if word in text] == []


async def test_unknown_user_and_wrong_password_look_alike(auth):
    await auth.registered()
    async with metric_delta(signals.SIGN_INS, outcome="bad_credentials") as failed:
        wrong = await auth.post("login", **ANN | {"password": "not the one"})
        unknown = await auth.post("login", email="bob@example.com", password="not the one")
    assert failed.value == 2
    assert wrong.status_code == unknown.status_code == 401
    first, second = ({**r.json(), "request_id": "", "trace_id": ""} for r in (wrong, unknown))
    assert first == second
    assert first["code"] == "bad_credentials"
    assert set(wrong.headers) == set(unknown.headers)


async def test_unknown_user_and_wrong_password_take_as_long():
    async with auth_app(
        Passwords(threads=1), auth_account_limit="999/minute", auth_address_limit="999/minute"
    ) as app:
        await app.registered()

        async def seconds(email: str) -> float:
            start = time.process_time()  # CPU, which hashing is: others use the machine as well
            reply = await app.post("login", email=email, password="not the one")
            assert reply.status_code == 401
            return time.process_time() - start

        pairs: list[tuple[float, float]] = []
        difference = 1.0
        while len(pairs) < 250 and difference >= 0.1:
            # in turns, so that both see the same caches; a real difference stays
            pairs += [
                (await seconds("ann@example.com"), await seconds("bob@example.com"))
                for _ in range(25)
            ]
            # the quickest were not disturbed
            known, unknown = (min(times) for times in zip(*pairs, strict=True))
            assert known > 0.01  # the hash was calculated
            difference = abs(known - unknown) / known
        assert difference < 0.1


async def test_failures_of_an_account_are_limited_even_in_parallel():
    async with auth_app(auth_account_limit="5/minute") as app:
        await app.registered()
        async with metric_delta(signals.SIGN_INS, outcome="limited") as limited:
            replies = await asyncio.gather(
                *(app.post("login", **ANN | {"password": f"guess number {n}"}) for n in range(20))
            )
        codes = [reply.status_code for reply in replies]
        assert (codes.count(401), codes.count(429)) == (5, 15)
        assert limited.value == 15
        refused = await app.post("login", **ANN)  # the right one does not help any more
        assert refused.status_code == 429
        assert refused.json()["code"] == "rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
        assert (await app.post("login", email="bob@example.com", password="x")).status_code == 401


async def test_who_waits_as_told_is_let_in():
    async with auth_app(auth_account_limit="1/minute") as app:
        await app.registered()
        with time_machine.travel(time.time(), tick=False) as clock:
            await app.post("login", **ANN | {"password": "not the one"})
            refused = await app.post("login", **ANN)
            assert refused.status_code == 429
            clock.shift(int(refused.headers["Retry-After"]))
            assert (await app.post("login", **ANN)).status_code == 200


async def test_successes_use_up_nothing():
    async with auth_app(auth_account_limit="2/minute", auth_address_limit="3/minute") as app:
        await app.registered()
        for _ in range(10):
            await app.signed_in()
        await app.post("login", **ANN | {"password": "not the one"})
        await app.signed_in()  # and clear the account
        await app.post("login", **ANN | {"password": "not the one"})
        await app.signed_in()


async def test_failures_of_an_address_are_limited_over_accounts():
    async with auth_app(auth_address_limit="4/minute") as app:

        async def attempt(number: int, forwarded: str) -> int:
            app.headers = {"X-Forwarded-For": forwarded}
            body = {"email": f"user{number}@example.com", "password": "not the one"}
            return (await app.post("login", **body)).status_code

        assert [await attempt(n, "203.0.113.7") for n in range(6)] == [401] * 4 + [429] * 2
        # a trusted proxy says that this is somebody else; what it got is not believed further
        assert await attempt(7, "203.0.113.8") == 401
        assert await attempt(8, "198.51.100.1, 203.0.113.7:4711") == 429
        # an IPv6 client has a whole network
        assert [await attempt(n, f"2001:db8::{n}") for n in range(6)] == [401] * 4 + [429] * 2
        assert await attempt(9, "[2001:db8:0:1::1]:4711") == 401


async def test_sign_ins_that_were_not_checked_do_not_count(monkeypatch):
    passwords, gate = Passwords(threads=1, wait_s=0), threading.Event()
    verify = passwords._verify

    def held(stored: str | None, password: str) -> Checked:
        gate.wait(60)
        return verify(stored, password)

    async with auth_app(passwords, auth_account_limit="1/minute") as app:
        await app.registered()
        monkeypatch.setattr(passwords, "_verify", held)
        calls = [
            asyncio.create_task(app.post("login", email=f"u{n}@example.com", password="x"))
            for n in range(5)
        ]
        try:  # the one that is checked takes until the others have been refused
            await soon(lambda: sum(call.done() for call in calls) >= 4)
        finally:
            gate.set()
        replies = await asyncio.gather(*calls)
        assert sorted(reply.status_code for reply in replies) == [401, 503, 503, 503, 503]
        busy = next(reply for reply in replies if reply.status_code == 503)
        assert busy.json()["code"] == "busy"
        assert busy.headers["Retry-After"]
        for number in range(5):
            reply = await app.post("login", email=f"u{number}@example.com", password="x")
            assert reply.status_code == (429 if replies[number].status_code == 401 else 401)


async def test_a_disabled_account_is_told_so_only_with_the_password(auth):
    await auth.registered()
    tokens = await auth.signed_in()
    await auth.accounts.disable("ann@example.com")
    async with metric_delta(signals.SIGN_INS, outcome="disabled") as disabled:
        reply = await auth.post("login", **ANN)
    assert (reply.status_code, reply.json()["code"]) == (403, "account_disabled")
    assert disabled.value == 1
    assert (await auth.post("login", **ANN | {"password": "no"})).status_code == 401
    refreshed = await auth.post("refresh", refresh_token=tokens["refresh_token"])
    assert refreshed.status_code == 401


async def test_an_old_hash_is_replaced_at_sign_in(auth):
    user_id = await auth.registered()
    old = Hasher(memory_kib=8, time_cost=3).hash(PASSWORD)
    auth.stored[user_id]["password_hash"] = old
    await auth.signed_in()
    assert "t=1" in auth.stored[user_id]["password_hash"]
    await auth.signed_in()


async def test_what_happened_is_announced_with_the_context_of_the_request(auth):
    auth.headers = {"X-Request-ID": "request-number-1"}
    user_id = await auth.registered()
    auth.headers = {"X-Request-ID": "request-number-2",
                   "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}  # fmt: skip
    await auth.signed_in()
    announced = [item for _, item in sorted(auth.stored[user_id]["outbox"].items())]
    assert [item["type"] for item in announced] == ["user.registered", "user.logged_in"]
    assert [item["request_id"] for item in announced] == ["request-number-1", "request-number-2"]
    assert announced[1]["traceparent"].split("-")[1] == "ab" * 16
    assert {item["user_id"] for item in announced} == {user_id}


async def test_sign_ins_that_wait_to_be_announced_are_bounded(auth):
    user_id = await auth.registered()
    dropped = metric_delta(signals.ANNOUNCEMENTS, type="user.logged_in", outcome="dropped")
    with dropped:
        for _ in range(105):
            await auth.signed_in()
    kinds = [item["type"] for _, item in sorted(auth.stored[user_id]["outbox"].items())]
    assert len(kinds) == 101
    assert kinds[0] == "user.registered"
    assert dropped.value == 5
