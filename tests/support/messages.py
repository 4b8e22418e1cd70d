"""HTTP/1.1 messages built from parts, so that a test knows what requests their bytes hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

EVENTS = b"/api/v1/events"
CRLF = b"\r\n"
Draw = Callable[[Any], Any]


@dataclass
class Request:
    """What a server that follows the RFCs reads; `method` as the upstream gets it."""

    marker: bytes
    method: bytes
    body: bytes
    head_only: bool = False  # asked by HEAD: the reply has no body


@dataclass
class Plan:
    """What one client sends in one connection, in pieces, and the requests in it."""

    pieces: list[bytes]
    requests: list[Request]
    leaves: bool  # closes its side at once after the last piece
    kinds: list[str] = field(default_factory=list)
    began: list[Request] = field(default_factory=list)  # never whole
    token: bytes = b""


UPGRADES: list[list[bytes]] = [
    [], [],
    # curl --http2, Java's HttpClient, browsers, and one that nobody knows
    [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
     b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"],
    [b"connection: upgrade, http2-settings",
     b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA", b"upgrade: h2c"],
    [b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
    [b"Connection: Upgrade", b"Upgrade: foo"],
    [b"Upgrade: foo", b"Connection: UPGRADE"],
    [b"Upgrade: foo/1, bar", b"Connection: x", b"Connection: Upgrade"],
]  # fmt: skip
CHUNKED = [b"Transfer-Encoding: chunked", b"tRANSFER-eNCODING:CHUNKED"]
LENGTH = [b"Content-Length: %d", b"content-length:%d", b"CONTENT-LENGTH:  00%d \t"]
# heads that no server may take for a request
REFUSED: dict[str, list[bytes]] = {
    "two lengths": [b"Content-Length: 5", b"Content-Length: 6"],
    "list of lengths": [b"Content-Length: 5, 5"],
    "list of two lengths": [b"Content-Length: 2, 3"],
    "empty length": [b"Content-Length:"],
    "length beyond 64 bits": [b"Content-Length: 99999999999999999999"],
    "signed length": [b"Content-Length: +5"],
    "negative length": [b"Content-Length: -5"],
    "hexadecimal length": [b"Content-Length: 0x5"],
    "length in words": [b"Content-Length: five"],
    "length with a space inside": [b"Content-Length: 1 5"],
    "length and coding": [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    "coding and length": [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
    "unknown coding": [b"Transfer-Encoding: xchunked"],
    "identity": [b"Transfer-Encoding: identity"],
    "two codings": [b"Transfer-Encoding: gzip, chunked"],
    "chunked twice": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    "chunked twice in a line": [b"Transfer-Encoding: chunked, chunked"],
    "chunked is not last": [b"Transfer-Encoding: chunked, gzip"],
    "space before the colon": [b"Content-Length : 5"],
    "vertical tab": [b"Transfer-Encoding: \x0bchunked"],
    "folded": [b"X-Folded: a", b" b"],
    "folded length": [b"Content-Length:", b" 5"],
    "bare CR": [b"X-A: a\rb"],
    "NUL": [b"X-A: a\0b"],
    "NUL in a name": [b"X-\0: a"],
    "space in a name": [b"X A: b"],
    "no colon": [b"X-A"],
    "empty name": [b": x"],
    "two hosts": [b"Host: x", b"Host: y"],
    "odd host": [b"Host: x@y"],
    "host with a path": [b"Host: x/y"],
    "host with a space": [b"Host: x y"],
    "host without a name": [b"Host: :80"],
    "list of hosts": [b"Host: x, y"],
    "empty host": [b"Host: "],
    "no host": [],
}
LINES = {
    "version 2.0": b"POST %b HTTP/2.0",
    "version 1.2": b"POST %b HTTP/1.2",
    "version 0.9": b"POST %b HTTP/0.9",
    "long version": b"POST %b HTTP/1.10",
    "version 9.9": b"POST %b HTTP/9.9",
    "half a version": b"POST %b HTTP/1.",
    "no version": b"POST %b",
    "not HTTP": b"POST %b XTTP/1.1",
    "method with a bracket": b"PO(T %b HTTP/1.1",
    "empty method": b" %b HTTP/1.1",
    "space in the target": b"POST %b /b HTTP/1.1",
    "NUL in the target": b"POST %b\0 HTTP/1.1",
    "control character in the target": b"POST %b\1 HTTP/1.1",
    "unknown method": b"PO ST %b HTTP/1.1",
    "CONNECT": b"CONNECT %b HTTP/1.1",
    "fragment": b"POST %b#x HTTP/1.1",
    "no target": b"POST  HTTP/1.1",
}
BAD_CHUNKS = {
    "bad size": b"5g\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "huge size": b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "size too short": b"3\r\nhello\r\n0\r\n\r\n",
    "no line end": b"5\r\nhello0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "size in words": b"five\r\nhello\r\n0\r\n\r\n",
    "0x before a size": b"0x5\r\nhello\r\n0\r\n\r\n",
    "space in size": b"5 5\r\nhello\r\n0\r\n\r\n",
    "bare LF": b"5\nhello\n0\n\n",
}


def _inner(marker: bytes, token: bytes) -> bytes:
    """A request that is hidden in what is no request."""
    return (
        b"POST %b?m=hidden-%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
        b"Content-Length: 1\r\n\r\nx" % (EVENTS, marker, token)
    )


@st.composite
def plans(draw: Draw, name: bytes, token: bytes, longest: int) -> Plan:
    """One client's connection; bodies have at most `longest` bytes."""
    plan = Plan([], [], draw(st.integers(0, 9)) == 7, token=token)
    out = bytearray()
    for number in range(draw(st.integers(1, 3))):
        marker = b"%b-%d" % (name, number)
        kind = draw(st.sampled_from(["whole"] * 12 + ["refused", "line", "chunks", "early"]))
        plan.kinds.append(kind)
        out += b"\r\n" * draw(st.sampled_from([0, 0, 0, 1, 2]))
        if kind == "whole":
            out += _whole(draw, plan, marker, token, longest)
            continue
        out += _broken(draw, plan, marker, longest)
        break
    cuts = sorted(draw(st.lists(st.integers(0, len(out)), max_size=4)))
    edges = [0, *cuts, len(out)]
    plan.pieces = [bytes(out[a:b]) for a, b in pairwise(edges) if a < b]
    return plan


def _head(line: bytes, token: bytes, lines: list[bytes]) -> bytes:
    auth = b"Authorization: Bearer " + token
    return CRLF.join([line, *lines[:1], auth, *lines[1:], b"", b""])


def _body(draw: Draw, marker: bytes, token: bytes, longest: int) -> bytes:
    choices = [b"", b"{}", b"\r\n\r\n", b"0\r\n\r\n", _inner(marker, token), b"x" * 3000]
    if longest > 70_000:
        choices += [b"y" * 70_000, _inner(marker, token) * (longest // 200)]
    return draw(st.sampled_from(choices))


def _whole(draw: Draw, plan: Plan, marker: bytes, token: bytes, longest: int) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"POST", b"HEAD"]))
    target = EVENTS + b"?m=" + marker
    if draw(st.integers(0, 9)) == 7:
        target = b"http://x" + target
    body = _body(draw, marker, token, longest)
    lines = [b"Host: " + draw(st.sampled_from([b"x", b"x:80", b"[::1]:1", b"a.b-c_d"]))]
    lines += draw(st.sampled_from(UPGRADES))
    if draw(st.integers(0, 19)) == 7:
        lines.append(b"Expect: 100-continue")
    framed = body
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(CHUNKED)))
        framed = _chunks(draw, body)
    elif body or method == b"POST":
        lines.append(draw(st.sampled_from(LENGTH)) % len(body))
    order = [lines[0], *draw(st.permutations(lines[1:]))]
    head_only = method == b"HEAD"
    plan.requests.append(Request(marker, b"GET" if head_only else method, body, head_only))
    return _head(b"%b %b HTTP/1.1" % (method, target), token, order) + framed


def _chunks(draw: Draw, body: bytes) -> bytes:
    out = bytearray()
    size = max(1, len(body) // draw(st.integers(1, 3)))
    extension = draw(st.sampled_from([b"", b"", b";a", b";a=b", b';a="q; 5"']))
    form = draw(st.sampled_from([b"%x", b"%X", b"000%x"]))
    for start in range(0, len(body), size):
        part = body[start : start + size]
        out += form % len(part) + extension + CRLF + part + CRLF
    trailer = draw(st.sampled_from([b"", b"", b"X-T: 1\r\n", b"Authorization: Bearer x\r\n"]))
    return bytes(out + b"0" + CRLF + trailer + CRLF)


def _broken(draw: Draw, plan: Plan, marker: bytes, longest: int) -> bytes:
    """Something that is no request, and behind it what must not be read as one."""
    kind, token = plan.kinds[-1], plan.token
    target = EVENTS + b"?m=" + marker
    line = b"POST %b HTTP/1.1" % target
    hidden = _inner(marker, token)
    host = [b"Host: x"]
    if kind == "refused":
        name = plan.kinds[-1] = draw(st.sampled_from(sorted(REFUSED)))
        upgrade: list[bytes] = draw(st.sampled_from(UPGRADES))
        lines = [*REFUSED[name], *upgrade] if "host" in name else [*host, *upgrade, *REFUSED[name]]
        return _head(line, token, lines or [b"X-No-Host: 1"]) + hidden
    if kind == "line":
        name = plan.kinds[-1] = draw(st.sampled_from(sorted(LINES)))
        form = LINES[name]
        return _head(form % target if b"%b" in form else form, token, host) + hidden
    if kind == "chunks":
        name = plan.kinds[-1] = draw(st.sampled_from(sorted(BAD_CHUNKS)))
        before, body = b"", b""
        if longest > 70_000 and draw(st.booleans()):
            body = b"z" * 70_000
            before = b"%x\r\n%b\r\n" % (len(body), body)
        plan.began.append(Request(marker, b"POST", body + b"hello"))
        head = _head(line, token, [*host, b"Transfer-Encoding: chunked"])
        return head + before + BAD_CHUNKS[name] + hidden
    body = _body(draw, marker, token, longest) + b"end"
    whole = _head(line, token, [*host, b"Content-Length: %d" % len(body)]) + body
    if draw(st.booleans()):
        parts = _chunks(draw, body)
        whole = _head(line, token, [*host, b"Transfer-Encoding: chunked"]) + parts
        whole = whole[: whole.rindex(b"0\r\n")]
    plan.began.append(Request(marker, b"POST", body))
    return whole[: draw(st.integers(1, len(whole) - 1))]


def malformed() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of requests that are not HTTP/1.1 as RFC 9112 has it."""
    target, json_ = b"/api/v1/auth/login", b"Content-Type: application/json"

    def post(
        *lines: bytes, start: bytes = b"POST %b HTTP/1.1" % target, body: bytes = b""
    ) -> bytes:
        return b"\r\n".join([start, *lines, b"", body])

    for name, form in LINES.items():
        start = form % target if b"%b" in form else form
        yield f"start line: {name}", post(b"Host: x", start=start)
    for name, lines in REFUSED.items():
        host = [] if "host" in name else [b"Host: x"]
        yield f"header: {name}", post(*host, json_, *lines, body=b"{}")
    for name, body in BAD_CHUNKS.items():
        chunked = b"Transfer-Encoding: chunked"
        yield f"chunks: {name}", post(b"Host: x", json_, chunked, body=body)
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS", bytes.fromhex("16030100a5010000a10303") + bytes(64) + b"\r\n\r\n"
    yield "PROXY protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + post(b"Host: x")
    yield "noise", bytes(range(256)) + b"\r\n\r\n"
    yield "header: first line folded", post(b" X: a", b"Host: x")
    yield "header: 20 KB", post(b"Host: x", b"X-Long: " + b"a" * 20_000)
    many = [b"X-%d: " % number + b"a" * 60 for number in range(400)]
    yield "header: 400 of 60 bytes", post(b"Host: x", *many)
    yield "target of 20 KB", post(b"Host: x", start=b"GET /" + b"a" * 20_000 + b" HTTP/1.1")
