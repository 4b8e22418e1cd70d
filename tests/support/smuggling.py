"""Many clients at once through a gateway, and what its upstream saw of them, byte for byte."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway import body as gateway_body
from gateway import headers as gateway_headers
from gateway.operations import load_document
from shared.tokens import Role
from shared.web import transport as upstream_transport
from shared.web.bounds import Bounds
from shared.web.protocol import BoundedProtocol, bounded_protocol
from shared.web.transport import UpstreamTransport
from tests.support.gateway_app import Gateway, gateway, served
from tests.support.issuer import Issuer
from tests.support.messages import Plan, Request, plans

AT_ONCE = 50
DEADLINE_S = 0.3
LAYERS = ("server", "gateway", "upstream")


@dataclass
class Message:
    """One message of a raw stream, as far as it was there."""

    start: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


def messages(raw: bytes, bodiless: Iterator[bool]) -> list[Message]:
    """The messages of a stream by RFC 9112, read by code that is not that of any server here."""
    found: list[Message] = []
    while raw:
        head, end, rest = raw.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        if not end:
            return [*found, Message(start, [], b"", False)]
        pairs = [line.split(b":", 1) for line in lines]
        headers = [(name.lower(), value.strip()) for name, value in pairs]
        message = Message(start, headers, b"", True)
        if start.startswith(b"HTTP/1.1 1"):
            raw = rest
            continue
        if next(bodiless, False):
            raw = rest
        elif message.all(b"transfer-encoding"):
            raw = _dechunk(message, rest)
        else:
            length = int((message.all(b"content-length") or [b"0"])[0])
            message.body, raw = rest[:length], rest[length:]
            message.complete = len(message.body) == length
        found.append(message)
    return found


def _dechunk(message: Message, raw: bytes) -> bytes:
    while True:
        line, end, rest = raw.partition(b"\r\n")
        size = int(line, 16) if end else 0
        message.body += rest[:size]
        if not end or len(rest) < size + 2:
            message.complete = False
            return b""
        raw = rest[size + 2 :]
        if size == 0:
            return raw


class Recording(BoundedProtocol):
    """An upstream's server that keeps what came in each connection."""

    streams: list[bytearray]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.stream = bytearray()
        self.streams.append(self.stream)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.stream += data
        super().data_received(data)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says whose request it answers; as a real service it reads only a POST's body."""
    if scope["method"] == "POST":
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
    reply = parse_qs(scope["query_string"]).get(b"m", [b"none"])[0]
    headers = [(b"content-length", b"%d" % len(reply))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply})


Known = dict[bytes, tuple[Plan, Request]]


@dataclass
class Stage:
    """The gateway, its upstream, and what was found."""

    gw: Gateway
    streams: list[bytearray]
    tokens: list[bytes]
    #: without the first two layers a body may be cut off, though nothing takes its place
    lossy: bool
    known: Known = field(default_factory=dict)
    begun: Known = field(default_factory=dict)
    cases: int = 0
    reached: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def switched_off(layers: set[str]) -> Iterator[tuple[type[BoundedProtocol], type[Recording]]]:
    """Protocols of gateway and upstream without these layers of defence."""

    class Server(BoundedProtocol):
        ignores_upgrade = "server" not in layers

    class Upstream(Recording):
        streams: list[bytearray] = []  # noqa: RUF012 - of this class
        ends_unread = "upstream" not in layers

    with pytest.MonkeyPatch.context() as patch:
        if "gateway" in layers:  # it believes what was announced

            def framing(self: Any, request: httpx.Request, body: Any) -> list[bytes]:
                return [] if "content-length" in request.headers else own(self, request, body)

            own = UpstreamTransport._framing
            patch.setattr(gateway_headers, "FRAMING", frozenset())
            patch.setattr(gateway_body, "check_complete", lambda announced, read: None)
            patch.setattr(gateway_body, "check_not_upgraded", lambda headers: None)
            patch.setattr(upstream_transport, "_FRAMING", (b"transfer-encoding", b"connection"))
            patch.setattr(UpstreamTransport, "_framing", framing)
        yield Server, Upstream


@contextlib.asynccontextmanager
async def stage(issuer: Issuer, off: set[str]) -> AsyncIterator[Stage]:
    with switched_off(off) as (server, recording):
        bounded = bounded_protocol(Bounds(message_s=DEADLINE_S), (), recording)
        document = load_document()
        for operation in document["paths"]["/api/v1/events"].values():
            operation["x-max-body"] = 1024 * 1024  # bodies of any length get through
        limits: dict[str, Any] = {
            "document": document,
            "message_seconds": DEADLINE_S,
            "max_connections_per_client": 0,
        }
        async with (
            served(echo, bounded) as url,
            gateway(event_url=url, auth_url=issuer.url, server=server, **limits) as gw,
        ):
            tokens = [
                issuer.headers(f"user{n}", Role.USER, Role.OPERATOR)["Authorization"][7:].encode()
                for n in range(8)
            ]
            lossy = {"server", "gateway"} <= off
            yield Stage(gw, bounded.streams, tokens, lossy)  # type: ignore[attr-defined]


async def _client(port: int, plan: Plan) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        for piece in plan.pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        if plan.leaves:
            return b""
        async with asyncio.timeout(4):
            while chunk := await reader.read(65536):
                got += chunk
                replies = messages(got, iter([one.head_only for one in plan.requests]))
                if not plan.began and "refused" not in plan.kinds and _all_there(plan, replies):
                    break
    writer.close()
    return got


def _all_there(plan: Plan, replies: list[Message]) -> bool:
    whole = [reply for reply in replies if reply.complete]
    return set(plan.kinds) == {"whole"} and len(whole) == len(plan.requests)


async def play(on: Stage, batch: list[Plan]) -> list[str]:
    """Run all at once; what is wrong with what their upstream or they themselves saw."""
    port = int(on.gw.url.rpartition(":")[2])
    answers = await asyncio.gather(*(_client(port, plan) for plan in batch))
    for _ in range(200):  # until the upstream has seen the end of what it was sent
        upstream = on.gw.deps.upstreams["event"]
        if not upstream._places.taken:
            break
        await asyncio.sleep(0.01)
    streams, on.streams[:] = list(on.streams), []
    for free in upstream.transport.inner._free.values():  # type: ignore[attr-defined]
        for connection in free:
            connection.close()  # the next batch begins with none
    known, begun = on.known, on.begun  # of earlier batches too: their stragglers may come now
    known |= {one.marker: (plan, one) for plan in batch for one in plan.requests}
    begun |= {one.marker: (plan, one) for plan in batch for one in plan.began}
    faults, seen = [], Counter[bytes]()
    raw = b"".join(streams)
    for stream in streams:
        if stream.startswith(b"GET /health/live "):
            continue  # a probe of the gateway
        faults += _strange(bytes(stream), known, begun, seen, on.lossy)
    faults += [f"{m!r} {n} times" for m, n in seen.items() if n > (1 + _repeatable(known, m))]
    for plan, answer in zip(batch, answers, strict=True):
        faults += _mixed_up(plan, answer, seen, on.lossy)
        on.cases += 1
        on.reached += any(b"m=" + one.marker in raw for one in plan.requests)
        on.kinds.update(plan.kinds)
    return faults


def _repeatable(known: Known, marker: bytes) -> bool:
    return known[marker][1].method == b"GET"  # the gateway may, once


def _strange(
    raw: bytes,
    known: Known,
    begun: Known,
    seen: Counter[bytes],
    lossy: bool,
) -> list[str]:
    """What in one connection of the upstream is no request that a client has sent, whole."""
    faults = []
    try:
        found = messages(raw, iter(()))
    except ValueError as error:
        return [f"not HTTP: {error}: {raw[:300]!r}"]
    for number, message in enumerate(found):
        last = number == len(found) - 1
        marker = message.start.partition(b"m=")[2].partition(b" ")[0]
        plan, request = known.get(marker) or begun.get(marker) or (None, None)
        if plan is None or request is None:
            if message.headers:
                faults.append(f"nobody sent {message.start!r}")
            continue
        if message.all(b"authorization") != [b"Bearer " + plan.token]:
            faults.append(f"{marker!r} has the token of another")
        if not message.start.startswith(request.method + b" "):
            faults.append(f"{marker!r} became {message.start!r}")
        whole = marker in known and message.body == request.body and message.complete
        part = request.body.startswith(message.body) and (lossy or (last and not message.complete))
        if not (whole or part):
            faults.append(f"{marker!r} has the body {message.body[:200]!r}")
        if whole:
            seen[marker] += 1
    return faults


def _mixed_up(plan: Plan, answer: bytes, seen: Counter[bytes], lossy: bool) -> list[str]:
    """Replies that are not those to the requests of this client, in their order."""
    replies = messages(answer, iter([one.head_only for one in plan.requests]))
    faults = []
    for reply, request in zip(replies, plan.requests, strict=False):
        if not reply.start.startswith(b"HTTP/1.1 200"):
            break
        if not request.head_only and reply.complete and reply.body != request.marker:
            faults.append(f"{request.marker!r} got the reply of {reply.body!r}")
        if not seen[request.marker] and not lossy:
            faults.append(f"{request.marker!r} was answered and not seen")
    granted = [reply for reply in replies if reply.start.startswith(b"HTTP/1.1 200")]
    if len(granted) > len(plan.requests):
        faults.append(f"{len(granted)} replies to {len(plan.requests)} requests")
    return faults


def attack(
    issuer: Issuer, cases: int, off: set[str], longest: int = 60_000
) -> tuple[Stage, list[str]]:
    """At least `cases` connections; ends at the first batch with a fault."""
    faults: list[str] = []
    with asyncio.Runner() as runner:
        holder = stage(issuer, off)
        on = runner.run(holder.__aenter__())

        @settings(
            max_examples=-(-cases // AT_ONCE),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def batches(data: st.DataObject) -> None:
            batch = [
                data.draw(plans(b"%06d" % (on.cases + n), on.tokens[n % 8], longest))
                for n in range(AT_ONCE)
            ]
            if not faults:
                faults.extend(runner.run(play(on, batch)))

        try:
            batches()
        finally:
            runner.run(holder.__aexit__(None, None, None))
    return on, faults
