"""Requests through the real trio seen as metric, log line and trace; and what must not be seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from plainview.decode import SpanRecord, parse_metrics
from tests.support.canary import CANARY, plant
from tests.support.otlp import OtlpReceiver
from tests.support.servers import EmbeddedMongo
from tests.support.trio import Service, Trio
from tests.support.waiting import until


def traced(
    mongo: EmbeddedMongo, redis_url: str, directory: Path, **environment: str
) -> Iterator[tuple[Trio, OtlpReceiver]]:
    with OtlpReceiver() as receiver:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            **environment,
        }
        with Trio(directory, mongo.url, redis_url, **variables) as trio:
            yield trio, receiver


@pytest.fixture(scope="module")
def observed(
    mongo: EmbeddedMongo, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Trio, OtlpReceiver]]:
    yield from traced(mongo, redis_url, tmp_path_factory.mktemp("observed"))


def lines_of(service: Service, **fields: object) -> list[dict[str, Any]]:
    return [
        line
        for line in service.lines()
        if all(line.get(name) == value for name, value in fields.items())
    ]


def value(service: Service, name: str, **labels: str) -> float:
    samples = parse_metrics(httpx.get(f"{service.url}/metrics").text)
    return sum(
        s.value
        for s in samples
        if s.name == name and all(s.labels.get(k) == v for k, v in labels.items())
    )


def test_a_logins_trace_spans_three_services(observed: tuple[Trio, OtlpReceiver]) -> None:
    trio, receiver = observed
    account = trio.register()
    trace_id, caller = uuid4().hex, "1" * 16
    reply = httpx.post(
        f"{trio.url}/api/v1/auth/login",
        json=account,
        headers={"traceparent": f"00-{trace_id}-{caller}-01", "X-Request-ID": "login-traced-1"},
    )
    assert reply.status_code == 200
    assert reply.headers["X-Request-ID"] == "login-traced-1"

    def spans() -> list[SpanRecord]:
        """The trace's, once whole: each service exports in batches, none waits for another."""
        found = [span for span in receiver.spans if span.trace_id == trace_id]
        parents = {span.parent_id for span in found} - {span.span_id for span in found}
        ends = {(span.service, span.kind) for span in found}
        whole = {("gateway", "server"), ("event", "consumer")} <= ends and parents == {caller}
        return found if whole else []

    found = until(spans)
    by_id = {span.span_id: span for span in found}
    consumer = next(span for span in found if span.service == "event" and span.kind == "consumer")
    # from the consumer upwards: the announcement's producer in auth, then the request
    producer = by_id[consumer.parent_id or ""]
    assert producer.service == "auth"
    servers = {span.service: span for span in found if span.kind == "server"}
    assert servers["gateway"].name == "POST /api/v1/auth/login"
    ancestor: SpanRecord | None = producer
    seen = []
    while ancestor is not None:
        seen.append(ancestor.service)
        ancestor = by_id.get(ancestor.parent_id or "")
    assert seen[-1] == "gateway"


def test_a_claim_joins_by_request_id_and_counts_exactly(
    observed: tuple[Trio, OtlpReceiver],
) -> None:
    trio, receiver = observed
    event_id, reward_id = trio.offer(stock=5)
    http = trio.client(uuid4().hex)
    assert http.post(f"/events/{event_id}/participations").status_code == 201

    route = "/api/v1/rewards/{id}/requests"
    names: list[tuple[Service, str, dict[str, str]]] = [
        (trio.gateway, "http_requests_total", {"path": route, "status_code": "201"}),
        (trio.events[0], "http_requests_total", {"path": route, "status_code": "201"}),
        (trio.events[0], "reward_requests_total", {"status": "approved", "reason": "none"}),
        (trio.gateway, "http_request_duration_seconds_count", {"path": route}),
    ]
    before = [value(service, name, **labels) for service, name, labels in names]
    request_id = f"claim-{uuid4().hex[:8]}"
    claim = http.post(
        f"/rewards/{reward_id}/requests",
        headers={"Idempotency-Key": uuid4().hex, "X-Request-ID": request_id},
    )
    assert claim.status_code == 201, claim.text
    after = [value(service, name, **labels) for service, name, labels in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1, 1]

    for service in (trio.gateway, trio.events[0]):
        (access,) = until(
            lambda service=service: lines_of(service, request_id=request_id, event="http.request")
        )
        assert access["http_route"] == route
        assert access["http_response_status_code"] == 201
        assert access["log_type"] == "general"
    traces = {
        line["trace_id"]
        for service in (trio.gateway, trio.events[0])
        for line in lines_of(service, request_id=request_id)
    }
    assert len(traces) == 1
    (trace_id,) = traces
    until(
        lambda: [
            span
            for span in receiver.spans
            if (span.trace_id, span.service) == (trace_id, "event")
            and "mongodb" in str(span.attributes.values())
        ]
    )


def seen(trio: Trio, receiver: OtlpReceiver) -> dict[str, str]:
    """Everything that telemetry holds, as text, by where it is."""
    texts = {f"log of {s.name}": s.log.read_text() for s in trio.services}
    texts |= {f"metrics of {s.name}": httpx.get(f"{s.url}/metrics").text for s in trio.services}
    texts["spans"] = "\n".join(map(str, receiver.spans))
    return texts


def test_a_canary_secret_is_nowhere(observed: tuple[Trio, OtlpReceiver]) -> None:
    trio, receiver = observed
    request_ids = plant(trio)
    for request_id in request_ids:  # each is there as a line and as a span, so it could be seen
        until(lambda i=request_id: lines_of(trio.gateway, request_id=i, event="http.request"))
        until(
            lambda i=request_id: [s for s in receiver.spans if s.attributes.get("request_id") == i]
        )
    time.sleep(1)
    for where, text in seen(trio, receiver).items():
        assert CANARY not in text, where
        assert CANARY.lower() not in text.lower(), where


def test_without_masking_the_canary_is_seen(
    mongo: EmbeddedMongo, redis_url: str, tmp_path: Path
) -> None:
    """The test above can fail: with masking off it would."""
    for trio, receiver in traced(mongo, redis_url, tmp_path, PLAINVIEW_MASKING="false"):
        plant(trio)
        look = partial(seen, trio, receiver)
        until(lambda look=look: any(CANARY in text for text in look().values()))


def test_strangers_add_few_series(observed: tuple[Trio, OtlpReceiver]) -> None:
    trio, _ = observed
    httpx.get(f"{trio.url}/warm-up")

    def series() -> int:
        return len(parse_metrics(httpx.get(f"{trio.gateway.url}/metrics").text))

    before = series()
    with httpx.Client(base_url=trio.url) as http:
        for number in range(
            300
        ):  # the ten thousand are in tests/integration/test_plainview_server.py
            assert http.get(f"/unknown/{number}/{uuid4().hex}").status_code == 404
        for number in range(100):
            assert http.request(f"M{number}", "/api/v1/events").status_code in (400, 405)
        for method in ("PROPFIND", "MKCOL", "REPORT", "SEARCH", "LOCK"):
            assert http.request(method, "/api/v1/events").status_code in (400, 405)
    assert series() - before <= 20
