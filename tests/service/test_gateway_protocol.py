"""What HTTP says of one message through a gateway, each with its place in the RFCs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.tokens import Role
from tests.support.gateway_app import Gateway, gateway, listening, upstream
from tests.support.issuer import Issuer

EVENTS = "/api/v1/events"


def request(issuer: Issuer, method: str = "GET", query: bytes = b"", *lines: bytes) -> bytes:
    """A last request of a connection, as bytes."""
    token = issuer.headers("ann", Role.USER)["Authorization"].encode()
    head = [
        b"%b %b%b HTTP/1.1" % (method.encode(), EVENTS.encode(), query),
        *(b"Host: x", b"Connection: close", b"Authorization: " + token),
        *lines,
    ]
    return b"\r\n".join([*head, b"", b""])


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[tuple[list[bytes], str]]:
    """An upstream that gives one reply to everything and keeps the heads that it got."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            head = line
            while (line := await reader.readline()).strip():
                head += line
            if b"/health/live" not in head:
                heads.append(head)
            writer.write(reply)
        writer.close()

    async with listening(serve) as url:
        yield heads, url


async def test_head_is_get_without_its_body(issuer):
    """RFC 9110, section 9.3.2."""
    async with (
        upstream(body=b'{"items":[]}', headers=[(b"ETag", b'"7"')]) as up,
        gateway(event_url=up.url, auth_url=issuer.url) as gw,
    ):
        token = issuer.headers("ann", Role.USER)
        head = await gw.client.head(EVENTS, headers=token)
        got = await gw.client.get(EVENTS, headers=token)
        assert (head.status_code, head.content, got.content) == (200, b"", b'{"items":[]}')
        differ = {"date", "x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in differ} == {
            k: v for k, v in got.headers.items() if k not in differ
        }
        assert [seen.method for seen in up.seen] == ["GET", "GET"]
        raw = await gw.talk(request(issuer, "HEAD"), 30)
        assert raw.endswith(b"\r\n\r\n")


async def test_a_304_tells_the_length_it_would_have(issuer):
    """RFC 9110, sections 8.6 and 15.4.5."""
    reply = b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 1234\r\n\r\n'
    async with answering(reply) as (_, url), gateway(event_url=url, auth_url=issuer.url) as gw:
        for _ in range(3):
            got = await gw.client.get(EVENTS, headers=issuer.headers("ann", Role.USER))
            assert (got.status_code, got.content) == (304, b"")
            assert (got.headers["etag"], got.headers["content-length"]) == ('"a"', "1234")
            assert "connection" not in got.headers


QUERIES = [
    b"cursor=a%20b", b"cursor=a+b", b"cursor=a%2Bb", b"cursor=a%2fb", b"cursor=it's(x)*!",
    b"cursor=a;b", b"cursor=%zz", b"cursor=100%", b"a[]=1&a[]=2", b"q={x}|y\\z^`", b"cursor=%ff",
    b"cursor=%ED%95%9C", b"cursor=%41%7E%2D", b"cursor==a==&&b", b"cursor=a%00b", b'cursor=a"b',
    b"cursor=<x>", b"?x=?", b"cursor=a:b@c/d", b"cursor=%25%32%46",
    b"a=" + b"b" * 9000,
]  # fmt: skip


async def test_a_query_is_passed_on_as_it_came(issuer):
    """RFC 9110, section 7.7: of the target a proxy changes nothing that it need not."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with answering(ok) as (heads, url), gateway(event_url=url, auth_url=issuer.url) as gw:
        for query in QUERIES:
            got = await gw.talk(request(issuer, "GET", b"?" + query), 30)
            assert got.startswith(b"HTTP/1.1 200"), query
            assert heads[-1].split()[1] == EVENTS.encode() + b"?" + query
        # neither a fragment nor such bytes are part of a target (RFC 9112, section 3.2)
        for query in (b"?x=1#frag", b"?q=caf\xc3\xa9"):
            got = await gw.talk(request(issuer, "GET", query), 30)
            assert got.startswith(b"HTTP/1.1 400")
        assert len(heads) == len(QUERIES)


async def test_bytes_of_headers_are_opaque(issuer):
    """RFC 9110, section 5.5."""
    odd = b"caf\xe9 \xff\x80 \xe2\x82\xac \t(x)"
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Odd: %b\r\n\r\n" % odd
    async with answering(reply) as (heads, url), gateway(event_url=url, auth_url=issuer.url) as gw:
        lines = [b"X-Odd: " + odd, b"User-Agent: " + odd, b"Content-Type: " + odd]
        got = await gw.talk(request(issuer, "GET", b"", *lines), 30)
        assert got.startswith(b"HTTP/1.1 200")
        assert b"x-odd: %b\r\n" % odd in got.lower()
        for line in lines:
            name, _, value = line.partition(b": ")
            assert b"%b: %b\r\n" % (name.lower(), value) in heads[0]


async def test_cookies_of_several_fields_are_one(up, gw, issuer):
    """RFC 9113, section 8.2.3: before anything that is not HTTP/2 they are joined by "; "."""
    await gw.talk(request(issuer, "GET", b"", b"Cookie: a=1", b"X: y", b"Cookie: b=2; c=3"), 30)
    assert up.seen[0].all("cookie") == ["a=1; b=2; c=3"]


async def test_a_head_that_is_too_large_is_502_and_nobodys_fault(issuer):
    """RFC 9110, section 15.6.3; the upstream is not taken for dead."""
    fits = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Big: %b\r\n\r\n" % (b"a" * 20_000)
    async with answering(fits) as (_, url), gateway(event_url=url, auth_url=issuer.url) as gw:
        assert await _status(gw, issuer) == (200, "")
    for size in (40_000, 4_000_000):
        large = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Big: %b\r\n\r\n" % (b"a" * size)
        async with answering(large) as (_, url), gateway(event_url=url, auth_url=issuer.url) as gw:
            for _ in range(7):
                assert await _status(gw, issuer) == (502, "upstream_reply_too_large")
            assert not gw.deps.upstreams["event"].breaker.is_open


async def _status(gw: Gateway, issuer: Issuer) -> tuple[int, str]:
    reply = await gw.client.get(EVENTS, headers=issuer.headers("ann", Role.USER))
    return reply.status_code, reply.json()["code"] if reply.content else ""


async def test_a_length_of_thousands_of_digits_is_a_bad_request():
    """Python refuses to read such a number, whatever it is."""
    async with gateway() as gw:
        for digits in (b"0" * 5000 + b"2", b"9" * 5000):
            head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n{}"
            got = await gw.talk(head % digits, 10)
            assert got.startswith(b"HTTP/1.1 400"), got
