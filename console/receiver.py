"""A bounded OTLP/HTTP receiver: `POST /v1/traces`, protobuf, plain or gzip."""

from __future__ import annotations

import asyncio
import zlib

from starlette.types import ASGIApp, Receive, Scope, Send

from console.store import Store
from plainview.decode import parse_otlp

MAX_BODY = 4 << 20  # bytes on the wire
MAX_DECODED = 16 << 20  # bytes after gzip
RECEIVE_SECONDS = 10  # a body that takes longer is given up


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def otlp_app(store: Store) -> ASGIApp:
    """The receiver as an ASGI app; 400 malformed, 404, 405, 408, 413, 415 as HTTP means them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            if scope["path"] != "/v1/traces":
                raise _Refused(404, "only /v1/traces")
            if scope["method"] != "POST":
                raise _Refused(405, "POST only")
            headers = {
                k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]
            }
            kind = headers.get("content-type", "").partition(";")[0].strip()
            if kind != "application/x-protobuf":
                raise _Refused(415, "application/x-protobuf only")
            async with asyncio.timeout(RECEIVE_SECONDS):
                body = await _body(receive)
            body = _decoded(body, headers.get("content-encoding", "identity").strip())
            try:
                spans = parse_otlp(body)
            except Exception as exc:  # whatever a decoder makes of bytes from outside
                raise _Refused(400, "malformed") from exc
            store.add_spans(spans)
            status, reply = 200, b""  # an empty message: everything accepted
        except TimeoutError:
            status, reply = 408, b"body too slow"
        except _Refused as refused:
            status, reply = refused.status, refused.reason.encode()
        kind = "application/x-protobuf" if status == 200 else "text/plain"
        headers_out = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(reply))]
        await send({"type": "http.response.start", "status": status, "headers": headers_out})
        await send({"type": "http.response.body", "body": reply})

    return app


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "cut off")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _Refused(413, f"more than {MAX_BODY} bytes")
        if not message.get("more_body"):
            return bytes(body)


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise _Refused(415, "gzip or identity only")
    unzip = zlib.decompressobj(wbits=31)
    try:
        decoded = unzip.decompress(body, MAX_DECODED)
    except zlib.error as exc:
        raise _Refused(400, "malformed gzip") from exc
    if unzip.unconsumed_tail:
        raise _Refused(413, f"more than {MAX_DECODED} bytes unpacked")
    if not unzip.eof:
        raise _Refused(400, "gzip cut off")
    return decoded
