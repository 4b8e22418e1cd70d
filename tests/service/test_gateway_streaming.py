"""The gateway between slow, large, leaving and dying peers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, Request

from gateway import signals
from gateway.operations import load_document
from plainview.testing import captured_logs, metric_delta
from shared.tokens import Role
from shared.web.body_limit import SMALL_BODY
from shared.web.problems import install_error_handlers
from tests.support.gateway_app import gateway, listening, served, upstream
from tests.support.issuer import Issuer
from tests.support.waiting import soon

EVENTS = "/api/v1/events"
LOGIN = "/api/v1/auth/login"
CLAIM = "/api/v1/rewards/r1/requests"


class Raw:
    """An upstream that accepts, reads what comes first and sends `reply`, or only breaks off."""

    def __init__(self, reply: bytes = b"") -> None:
        self.reply, self.accepted = reply, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(65536)
        if b"/health/live" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        elif head:  # a probe that was given up sends nothing
            self.accepted += 1
            writer.write(self.reply)
        writer.close()


@asynccontextmanager
async def raw(reply: bytes = b"") -> AsyncIterator[tuple[Raw, str]]:
    fake = Raw(reply)
    async with listening(fake) as url:
        yield fake, url


@pytest.fixture
def user(issuer):
    return issuer.headers("ann", Role.USER)


@pytest.fixture
def operator(issuer):
    return issuer.headers("bob", Role.OPERATOR)


async def test_a_reply_streams_as_it_comes(issuer, user):
    go_on = asyncio.Event()

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"last"})

    async with (
        upstream(app=app) as up,
        gateway(event_url=up.url, auth_url=issuer.url) as gw,
        gw.client.stream("GET", EVENTS, headers=user) as reply,
    ):
        chunks = reply.aiter_raw()
        assert await asyncio.wait_for(anext(chunks), 30) == b"first"
        go_on.set()
        assert b"".join([chunk async for chunk in chunks]) == b"last"


async def test_a_body_is_here_before_an_upstream_is_asked():
    """So its client cannot hold a place or a connection of the upstream by sending slowly."""
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 4000
        await asyncio.wait_for(go_on.wait(), 30)
        yield b"y" * 1000

    async with upstream() as up, gateway(auth_url=up.url) as gw:
        for headers in ({}, {"Content-Length": "5000"}):
            go_on.clear()
            count = len(up.seen)
            call = asyncio.create_task(gw.client.post(LOGIN, content=body(), headers=headers))
            assert (await gw.client.post(LOGIN, json={})).status_code == 200  # others go on
            assert len(up.seen) == count + 1
            assert not gw.deps.upstreams["auth"]._places.taken
            go_on.set()
            assert (await call).status_code == 200
            assert up.seen[-1].body == b"x" * 4000 + b"y" * 1000
            # its length is what was read, not what was announced
            assert up.seen[-1].all("content-length") == ["5000"]


LARGEST = load_document()["paths"]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(
    ("path", "most"), [(LOGIN, SMALL_BODY), (EVENTS, LARGEST[EVENTS]["post"]["x-max-body"])]
)
async def test_a_body_has_the_bound_of_its_operation(issuer, operator, path, most, announced):
    """At most that many bytes are read, and the upstream is not asked."""
    assert SMALL_BODY <= most <= 64 * 1024

    def content(size: int) -> bytes | AsyncIterator[bytes]:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield b"x" * (size // 8)

        return b"x" * size if announced else parts()

    async with (
        upstream() as up,
        gateway(auth_url=up.url, event_url=up.url, jwks_url=f"{issuer.url}/k") as gw,
    ):
        reply = await gw.client.post(path, content=content(most), headers=operator)
        assert (reply.status_code, len(up.seen[-1].body)) == (200, most)
        reply = await gw.client.post(path, content=content(most + 8), headers=operator)
        assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")
        assert reply.headers["connection"] == "close"
        assert reply.headers["content-type"] == "application/problem+json"
        assert len(up.seen) == 1


READ_AND_WRITE = [("GET", None), ("POST", {"title": "x"})]


async def test_at_the_deadline_504_and_the_work_is_cancelled(issuer, operator):
    async with (
        upstream(delay_s=60) as up,
        # 1.5 s: the call has to get there in that time, on a busy machine too
        gateway(event_url=up.url, auth_url=issuer.url, upstream_deadline_seconds=1.5) as gw,
    ):
        began = time.monotonic()
        for number, (method, body) in enumerate(READ_AND_WRITE, 1):
            reply = await gw.client.request(method, EVENTS, json=body, headers=operator)
            assert reply.status_code == 504
            assert reply.headers["content-type"] == "application/problem+json"
            problem = reply.json()
            assert problem["code"] == "upstream_timeout"
            assert problem["request_id"] == reply.headers["x-request-id"]
            assert len(problem["trace_id"]) == 32
            assert up.url not in reply.text
            await soon(lambda: up.seen[-1].cancelled)
            assert len(up.seen) == number  # a slow call is not made again
        assert time.monotonic() - began < 9  # by default it is 5 s, twice


async def test_a_client_that_leaves_cancels_the_call(issuer, operator):
    async with (
        upstream(delay_s=90) as up,
        # or the deadline would cancel it, too
        gateway(event_url=up.url, auth_url=issuer.url, upstream_deadline_seconds=60) as gw,
    ):
        for number, (method, body) in enumerate(READ_AND_WRITE, 1):
            asking = gw.client.request(method, EVENTS, json=body, headers=operator)
            call = asyncio.create_task(asking)
            await soon(lambda number=number: len(up.seen) == number)
            call.cancel()
            await soon(lambda: up.seen[-1].cancelled)
        assert not gw.deps.upstreams["event"].breaker.is_open


async def test_a_client_that_leaves_while_it_sends_is_no_error():
    async with upstream() as up, gateway(auth_url=up.url) as gw:
        with captured_logs() as lines:
            head = f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n"
            # each stays for long enough to be asked for more
            talks = (gw.talk(f"{head}{'x' * size}".encode(), 1) for size in (4, 7000) * 6)
            assert await asyncio.gather(*talks) == [b""] * 12
            assert (await gw.client.post(LOGIN, json={})).status_code == 200
        assert [line for line in lines if line["level"] == "error"] == []
        assert len(up.seen) == 1
        assert not gw.deps.upstreams["auth"].breaker.is_open


async def test_a_dead_upstream_is_503_and_soon_not_asked():
    signals.breaker_open("event", is_open=False)  # whatever another test left
    async with gateway(breaker_open_seconds=60) as gw:  # no trial falls into this test
        for _ in range(5):
            reply = await gw.client.post(LOGIN, json={})
            assert (reply.status_code, reply.json()["code"]) == (503, "upstream_unavailable")
            assert int(reply.headers["retry-after"]) >= 1
        assert gw.deps.upstreams["auth"].breaker.is_open
        with metric_delta("upstream_fast_failures_total", upstream="auth") as refused:
            times = []
            for _ in range(10):
                began = time.monotonic()
                assert (await gw.client.post(LOGIN, json={})).status_code == 503
                times.append(time.monotonic() - began)
        assert refused.value == 10
        assert sorted(times)[5] < 0.5  # one that is asked may take the second of connecting
        page = (await gw.client.get("/metrics")).text
        assert 'upstream_breaker_open{upstream="auth"} 1.0' in page
        assert 'upstream_breaker_open{upstream="event"} 0.0' in page
        await gw.becomes(200)


async def test_answers_of_any_status_keep_the_breaker_closed(issuer):
    async with upstream(status=500) as up, gateway(auth_url=up.url) as gw:
        for _ in range(8):
            assert (await gw.client.post(LOGIN, json={})).status_code == 500
        assert len(up.seen) == 8


async def test_retries_stay_within_the_budget(issuer, user):
    async with raw() as (up, url), gateway(event_url=url, auth_url=issuer.url) as gw:
        gw.deps.upstreams["event"].breaker._limit = 10**9
        calls = 30
        with (
            metric_delta("upstream_retries_total", upstream="event", outcome="retried") as retried,
            metric_delta("upstream_retries_total", outcome="budget_exhausted") as refused,
        ):
            for _ in range(calls):
                assert (await gw.client.get(EVENTS, headers=user)).status_code == 503
        assert up.accepted == calls + retried.value
        assert 3 <= retried.value <= calls * 0.2 + 3
        assert refused.value == calls - retried.value


async def test_a_post_is_repeated_only_with_a_key(issuer, user, operator):
    async with raw() as (up, url), gateway(event_url=url, auth_url=issuer.url) as gw:
        gw.deps.upstreams["event"].breaker._limit = 10**9
        key = {"Idempotency-Key": "k-1"}
        for method, target, headers, body, expected in [
            ("POST", CLAIM, user, b"", 1),
            ("POST", CLAIM, user | key, b"", 2),
            ("POST", CLAIM, user | key, b"{}", 2),
            ("POST", CLAIM, user | key, b"x" * 8_000, 2),
            ("POST", EVENTS, operator, b"{}", 1),
            ("POST", EVENTS, operator | key, b"{}", 1),  # this operation knows no key
            ("PATCH", f"{EVENTS}/e1", operator, b"{}", 1),
        ]:
            before = up.accepted
            reply = await gw.client.request(method, target, headers=headers, content=body)
            assert reply.status_code == 503
            assert up.accepted - before == expected, (method, target, headers, len(body))


async def test_a_reply_that_breaks_off_is_not_passed_as_complete(issuer):
    half = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    async with raw(half) as (up, url), gateway(event_url=url, auth_url=issuer.url) as gw:
        with pytest.raises(httpx.RemoteProtocolError):
            await gw.client.get(EVENTS, headers=issuer.headers("ann", Role.USER))
        assert up.accepted == 1  # it had begun: not to be made again


async def test_a_post_after_an_upstreams_crash_goes_through(issuer):
    """The server closes a connection upon an unhandled error: nobody may reuse it."""
    app = FastAPI()
    install_error_handlers(app)

    @app.post(LOGIN)
    async def login(request: Request) -> str:
        if await request.body() == b"crash":
            raise KeyError("x")
        return "fine"

    async with served(app) as url, gateway(auth_url=url) as gw:
        for _ in range(30):
            assert (await gw.client.post(LOGIN, content=b"crash")).status_code == 500
            assert (await gw.client.post(LOGIN, content=b"ok")).status_code == 200


async def test_without_any_keys_tokens_are_503_not_401():
    with Issuer() as issuer:
        async with gateway() as gw:
            with metric_delta("token_verifications_total", outcome="keys_unavailable") as count:
                reply = await gw.client.get(EVENTS, headers=issuer.headers("ann", Role.USER))
            assert (reply.status_code, reply.json()["code"]) == (503, "keys_unavailable")
            assert "retry-after" in reply.headers
            assert count.value == 1
