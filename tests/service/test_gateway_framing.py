"""A request is what was read, not what was announced: three layers, each enough alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from shared.tokens import Role
from tests.support.gateway_app import gateway, listening
from tests.support.messages import UPGRADES
from tests.support.smuggling import LAYERS, attack

EVENTS = "/api/v1/events"


def test_the_upstream_sees_what_clients_sent(issuer):
    on, faults = attack(issuer, 200, set(), longest=200_000)
    assert faults == []
    assert on.reached >= 0.6 * on.cases, on.kinds


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_is_enough(issuer, layer):
    on, faults = attack(issuer, 100, set(LAYERS) - {layer})
    assert faults == []
    assert on.reached >= 0.3 * on.cases, on.kinds  # what asks to upgrade is refused by some


def test_without_any_it_is_found(issuer):
    _, faults = attack(issuer, 500, set(LAYERS))
    assert faults


@pytest.mark.parametrize("asked", UPGRADES[2:])
async def test_a_wish_to_upgrade_is_ignored(up, gw, issuer, asked):
    """RFC 9110, section 7.8: the message is read whole, as if nobody had asked."""
    token = issuer.headers("ann", Role.OPERATOR, Role.USER)["Authorization"].encode()
    head = [b"Host: x", b"Authorization: " + token, *asked]
    forms = {
        b"": [],
        b'{"title":"x"}': [b"Content-Length: 13"],
        b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n': [b"Transfer-Encoding: chunked"],
    }
    for method in (b"GET", b"POST"):
        for body, framing in forms.items():
            up.seen.clear()
            lines = [b"%b /api/v1/events HTTP/1.1" % method, *head, *framing, b"", body]
            last = b"GET /api/v1/events?last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            both = b"\r\n".join(lines) + last + b"Authorization: " + token + b"\r\n\r\n"
            got = await gw.talk(both, 30)
            assert got.count(b"HTTP/1.1 200 OK") == got.count(b"HTTP/1.1") == 2, got
            assert b"upgrade" not in got.lower()
            first, second = up.seen
            assert (first.method, second.target) == (method.decode(), f"{EVENTS}?last")
            assert first.body == (b'{"a":1}' if body.startswith(b"5") else body)
            assert first.all("upgrade") == []


@asynccontextmanager
async def replying(extra: dict[str, bytes], pause_s: float = 0) -> AsyncIterator[str]:
    """An upstream that says which request it answers, and then something more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            kind, _, marker = line.split()[1].partition(b"?")[2].partition(b"&")
            status = b"304 Not Modified" if kind == b"304" else b"200 OK"
            length = 5 if kind == b"304" else len(marker) + 5 * (kind == b"short")
            body = b"" if kind == b"304" else marker
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, length, body))
            if pause_s:
                await asyncio.sleep(pause_s)
            writer.write(extra.get(kind.decode(), b""))
            if kind == b"short":
                break
        writer.close()

    async with listening(serve) as url:
        yield url


POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


@pytest.mark.parametrize("pause_s", [0, 0.02])
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("reply", POISON),
        ("bytes", b"poison"),
        ("chunk", b"0\r\n\r\n"),
        ("304", POISON),
        ("304", b"abcde"),
        ("short", b""),
    ],
)
async def test_an_upstream_that_says_more_or_less_poisons_nobody(issuer, kind, more, pause_s):
    async with (
        replying({kind: more}, pause_s) as url,
        gateway(event_url=url, auth_url=issuer.url) as gw,
    ):
        headers = issuer.headers("ann", Role.USER)
        for number in range(10):
            try:
                reply = await gw.client.get(f"{EVENTS}?{kind}&x{number}", headers=headers)
                assert reply.status_code == (304 if kind == "304" else 200)
                assert reply.text == ("" if kind == "304" else f"x{number}")
            except httpx.RemoteProtocolError:
                assert kind == "short"
            await asyncio.sleep(2 * pause_s)  # what nobody asked for has come by then
            reply = await gw.client.get(f"{EVENTS}?good&y{number}", headers=headers)
            assert (reply.status_code, reply.text) == (200, f"y{number}")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 204 No Content", 204),
        (b"HTTP/1.1 099 Odd", 502),
        (b"HTTP/1.1 600 Odd", 502),
        (b"HTTP/1.1 999 Odd", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"0" * 5000 + b"5", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: a", 502),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade", 502),
        (b"SSH-2.0", 502),
    ],
)
async def test_a_head_that_cannot_be_ends_in_a_reply(issuer, line, status):
    """RFC 9110, section 15.6.3."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = b"" if b"Length" in line else b"\r\nContent-Length: 5"
        writer.write(b"%b%b\r\n\r\n" % (line, length))
        writer.close()

    async with listening(serve) as url, gateway(event_url=url, auth_url=issuer.url) as gw:
        token = issuer.headers("ann", Role.USER)["Authorization"]
        head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        both = f"{head}\r\n{head}Connection: close\r\n\r\n"
        got = await gw.talk(both.encode(), 20)
        assert got.count(b"HTTP/1.1 %d " % status) == 2
        assert got.count(b'"upstream_reply_invalid"') == (0 if status == 204 else 2)
        assert (b"content-length" in got) == (status != 204)
