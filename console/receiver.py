"""A bounded OTLP/HTTP receiver: `POST /v1/traces`, protobuf, plain or gzip."""

import zlib

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from console.store import Store
from plainview.decode import parse_otlp
from shared.web.body_limit import BodyLimit

MAX_BODY = 4 << 20  # bytes on the wire
MAX_DECODED = 8 << 20  # bytes after gzip: parsing them takes the event loop a second
PROTOBUF = "application/x-protobuf"


def otlp_app(store: Store, receive_s: float = 10.0) -> ASGIApp:
    """The receiver as an ASGI app; 400 malformed, 404, 405, 408, 413, 415 as HTTP means them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            reply = await _take(store, Request(scope, receive))
            await reply(scope, receive, send)

    return BodyLimit(RequestBodyLimitMiddleware(app, max_body_size=MAX_BODY), receive_s)


async def _take(store: Store, request: Request) -> Response:  # noqa: PLR0911 - refusals
    if request.url.path != "/v1/traces":
        return PlainTextResponse("only /v1/traces", 404)
    if request.method != "POST":
        return PlainTextResponse("POST only", 405)
    if request.headers.get("content-type", "").partition(";")[0].strip() != PROTOBUF:
        return PlainTextResponse(f"{PROTOBUF} only", 415)
    encoding = request.headers.get("content-encoding", "identity").strip()
    if encoding not in ("identity", "gzip"):
        return PlainTextResponse("gzip or identity only", 415)
    try:
        body = await request.body()
        store.add_spans(parse_otlp(_unzipped(body) if encoding == "gzip" else body))
    except OverflowError:
        return Response(status_code=413)  # BodyLimit makes a problem document of it
    except (ClientDisconnect, ValueError, zlib.error):
        return PlainTextResponse("malformed", 400)
    return Response(b"", media_type=PROTOBUF)  # an empty message: everything accepted


def _unzipped(body: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    decoded = unzip.decompress(body, MAX_DECODED)
    if unzip.unconsumed_tail:
        raise OverflowError
    if not unzip.eof:
        raise ValueError("cut off")
    return decoded
