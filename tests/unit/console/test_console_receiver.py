"""The OTLP receiver takes what is well-formed and bounded, and says why it refuses the rest."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.receiver import MAX_BODY, MAX_DECODED, otlp_app
from console.store import Store

TRACE = bytes(range(16))
GZIP = {"content-encoding": "gzip"}


def body(spans: int = 1) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    pair = resource.resource.attributes.add()
    pair.key, pair.value.string_value = "service.name", "auth"
    scope = resource.scope_spans.add()
    for number in range(spans):
        span = scope.spans.add()
        span.trace_id, span.span_id, span.name = TRACE, number.to_bytes(8, "big"), "login"
    return request.SerializeToString()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
async def client(store):
    transport = httpx.ASGITransport(otlp_app(store))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def headers(**more: str) -> dict[str, str]:
    return {"content-type": "application/x-protobuf", **more}


async def test_plain_and_gzip_bodies_are_kept(client, store):
    plain = await client.post("/v1/traces", content=body(), headers=headers())
    gzipped = {"content": gzip.compress(body(3)), "headers": headers(**GZIP)}
    packed = await client.post("/v1/traces", **gzipped)
    assert (plain.status_code, plain.content, packed.status_code) == (200, b"", 200)
    found = store.find(TRACE.hex())
    assert found
    assert len(found.spans) == 3
    assert found.spans[0].service == "auth"


@pytest.mark.parametrize(
    ("content", "more", "status"),
    [
        (b"\xff\xff not protobuf", {}, 400),
        (b"not gzip", GZIP, 400),
        (gzip.compress(body())[:-9], GZIP, 400),
        (body(), {"content-encoding": "br"}, 415),
        (body(), {"content-type": "application/json"}, 415),
        (b"0" * (MAX_BODY + 1), {}, 413),
        (gzip.compress(b"0" * (MAX_DECODED + 1)), GZIP, 413),
    ],
    ids=["protobuf", "gzip", "cut gzip", "brotli", "json", "long", "bomb"],
)
async def test_the_rest_is_refused(client, store, content, more, status):
    reply = await client.post("/v1/traces", content=content, headers=headers(**more))
    assert reply.status_code == status
    assert store.span_count == 0


async def test_other_paths_and_methods(client):
    assert (await client.post("/v1/logs", content=b"", headers=headers())).status_code == 404
    assert (await client.get("/v1/traces")).status_code == 405


async def test_a_body_that_never_ends_is_given_up(store):
    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(1)
        yield b"y"

    transport = httpx.ASGITransport(otlp_app(store, receive_s=0.05))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        reply = await client.post("/v1/traces", content=slowly(), headers=headers())
    assert reply.status_code == 408
