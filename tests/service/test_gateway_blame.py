"""Blame the one whose fault it is: what clients do neither opens a breaker nor takes the places."""

import asyncio
import contextlib
import socket
from typing import Any

from gateway.proxy import WATCH_S
from shared.tokens import Role
from shared.web.bounds import Bounds
from shared.web.protocol import bounded_protocol
from shared.web.upstream_reply import AHEAD
from tests.support.gateway_app import Gateway, gateway, served, upstream
from tests.support.issuer import Issuer
from tests.support.waiting import soon

EVENTS = "/api/v1/events"
LOGIN = "/api/v1/auth/login"


async def events(scope: Any, receive: Any, send: Any) -> None:
    """As many bytes as the query says, or a line every 0.1 s for 2 s."""
    kind = scope["query_string"].decode() or "2"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(20 if kind == "flow" else 0):
        line = b"data: %d\n\n" % number
        await send({"type": "http.response.body", "body": line, "more_body": True})
        await asyncio.sleep(0.1)
    body = b"x" * int(kind) if kind.isdigit() else b"end"
    await send({"type": "http.response.body", "body": body})


async def unread(gw: Gateway, issuer: Issuer, query: str, user: str) -> asyncio.StreamWriter:
    """A client that asks and then takes nothing."""
    port = int(gw.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.transport.pause_reading()
    token = issuer.headers(user, Role.USER)["Authorization"]
    head = f"GET {EVENTS}?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
    writer.write(head.encode())
    return writer


async def test_a_reply_up_to_1_mib_frees_its_upstream_before_it_is_read(issuer):
    async with served(events) as url, gateway(event_url=url, auth_url=issuer.url) as gw:
        client = gw.deps.upstreams["event"]
        readers = [await unread(gw, issuer, str(AHEAD - 100), f"u{n}") for n in range(20)]
        free = client.transport.inner._free
        await soon(lambda: any(free.values()) and not client._places.taken)
        assert not client.breaker.is_open
        reply = await gw.client.get(EVENTS, headers=issuer.headers("ann", Role.USER))
        assert reply.status_code == 200
        for writer in readers:
            writer.close()


async def test_a_reply_flows_past_every_deadline(issuer):
    times = {"upstream_deadline_seconds": 0.5, "upstream_idle_seconds": 5, "message_seconds": 0.5}
    async with served(events) as url, gateway(event_url=url, auth_url=issuer.url, **times) as gw:
        headers = issuer.headers("ann", Role.USER)
        calls = [gw.client.get(f"{EVENTS}?flow", headers=headers) for _ in range(6)]
        for reply in await asyncio.gather(*calls):
            assert reply.text.endswith("data: 19\n\nend")
        assert not gw.deps.upstreams["event"].breaker.is_open


async def test_a_reply_that_stops_is_cut_off_and_counted(issuer):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.sleep(60)

    async with (
        upstream(app=app) as up,
        gateway(event_url=up.url, auth_url=issuer.url, upstream_idle_seconds=0.5) as gw,
    ):
        token = issuer.headers("ann", Role.USER)["Authorization"]
        head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        got = await gw.talk(head.encode(), 30)
        assert got.startswith(b"HTTP/1.1 200")
        assert not got.endswith(b"0\r\n\r\n")  # and so the client knows that it is not all
        assert gw.deps.upstreams["event"].breaker._failures == 1


async def test_bodies_that_never_come_open_no_breaker_and_take_no_connection():
    async with upstream() as up, gateway(auth_url=up.url, message_seconds=1) as gw:
        halves = [
            f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{",
            f"POST {LOGIN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n",
        ]
        answers = await asyncio.gather(*(gw.talk(h.encode(), 30) for h in halves * 10))
        assert all(b" 408 " in answer for answer in answers)
        assert up.seen == []
        assert not gw.deps.upstreams["auth"].breaker.is_open
        assert (await gw.client.post(LOGIN, json={})).status_code == 200


async def test_places_are_bounded_in_all_and_of_one_client(issuer):
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["query_string"] == b"wait":
            await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    share = {"upstream_max_in_flight": 4, "upstream_max_in_flight_per_client": 3}
    async with (
        upstream(app=app) as up,
        gateway(event_url=up.url, auth_url=up.url, jwks_url=f"{issuer.url}/k", **share) as gw,
    ):
        greedy, other = issuer.headers("greedy", Role.USER), issuer.headers("ann", Role.USER)
        waits = [
            asyncio.create_task(gw.client.get(f"{EVENTS}?wait", headers=greedy)) for _ in range(8)
        ]
        await soon(lambda: sum(call.done() for call in waits) == 5)
        assert (await gw.client.get(EVENTS, headers=other)).status_code == 200
        assert (await gw.client.post(LOGIN, json={})).status_code == 200  # by address, not by user
        refused = await gw.client.get(EVENTS, headers=greedy)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_in_flight")
        assert refused.headers["retry-after"] == "1"
        places = gw.deps.upstreams["event"]._places
        waits.append(asyncio.create_task(gw.client.get(f"{EVENTS}?wait", headers=other)))
        await soon(lambda: places.taken == 4)
        shed = await gw.client.get(EVENTS, headers=issuer.headers("ben", Role.USER))
        assert (shed.status_code, shed.json()["code"]) == (503, "busy")
        go_on.set()
        statuses = sorted([reply.status_code for reply in await asyncio.gather(*waits)])
        assert statuses == [200] * 4 + [429] * 5
        await soon(lambda: not places.taken)
        assert not gw.deps.upstreams["event"].breaker.is_open


async def test_a_slow_reader_is_cut_off_alone(issuer):
    bounds = Bounds(taken=30 * 1024, taking_s=0.6)

    async with served(events, bounded_protocol(bounds)) as url:
        port = int(url.rpartition(":")[2])

        async def read(every_s: float, size: int) -> int:
            """How much a client gets that takes so much so often, until its end."""
            loop, got = asyncio.get_running_loop(), 0
            with socket.socket() as sock:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(4096, size))
                await loop.sock_connect(sock, ("127.0.0.1", port))
                head = b"GET /?8000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                await loop.sock_sendall(sock, head)
                with contextlib.suppress(ConnectionError):
                    async with asyncio.timeout(60):
                        while chunk := await loop.sock_recv(sock, size):
                            got += len(chunk)
                            await asyncio.sleep(every_s)
            return got

        slow, quick = await asyncio.gather(read(0.1, 100), read(0, 1 << 20))
        assert quick > 8_000_000
        assert slow < 8_000_000


async def test_a_client_that_leaves_a_pipelined_stream_ends_it(issuer):
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with upstream(app=app) as up, gateway(event_url=up.url, auth_url=issuer.url) as gw:
        token = issuer.headers("ann", Role.USER)["Authorization"]
        head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        await gw.talk(head.encode() * 2, 10 * WATCH_S)
        await asyncio.wait_for(ended.wait(), 30)
        await soon(lambda: not gw.deps.upstreams["event"]._places.taken)
