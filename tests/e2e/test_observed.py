"""Requests through the real trio seen as metric, log line and trace; and what must not be seen."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from plainview.decode import SpanRecord
from tests.support.otlp import OtlpReceiver
from tests.support.trio import Service, Trio
from tests.support.waiting import until


@pytest.fixture(scope="module")
def observed(
    mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Trio, OtlpReceiver]]:
    with OtlpReceiver() as receiver:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        with Trio(tmp_path_factory.mktemp("observed"), mongo_url, redis_url, **variables) as trio:
            yield trio, receiver


def lines_of(service: Service, **fields: object) -> list[dict[str, Any]]:
    return [
        line
        for line in service.lines()
        if all(line.get(name) == value for name, value in fields.items())
    ]


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
    # from the consumer upwards: the announcement's producer in auth, then the request
    span = next(span for span in found if (span.service, span.kind) == ("event", "consumer"))
    above = []
    while parent := by_id.get(span.parent_id or ""):
        span = parent
        above.append(span.service)
    assert (above[0], above[-1]) == ("auth", "gateway")
    assert (span.kind, span.name) == ("server", "POST /api/v1/auth/login")


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
    before = [service.metric(name, **labels) for service, name, labels in names]
    request_id = f"claim-{uuid4().hex[:8]}"
    claim = http.post(
        f"/rewards/{reward_id}/requests",
        headers={"Idempotency-Key": uuid4().hex, "X-Request-ID": request_id},
    )
    assert claim.status_code == 201, claim.text
    after = [service.metric(name, **labels) for service, name, labels in names]
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


def test_secrets_of_a_request_are_nowhere(observed: tuple[Trio, OtlpReceiver]) -> None:
    """In every place where a client can put one: tests/faults/test_canary.py."""
    trio, receiver = observed
    canary = "Canary7Secret9Value"
    token = f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ{canary}In0.{canary}"
    with trio.client() as http:
        login = {"email": f"{canary}@example.com", "password": canary}
        replies = [
            http.post("/auth/login", params={"token": canary}, json=login),
            http.get("/auth/me", headers={"Authorization": f"Bearer {token}"}),
            http.post("/auth/refresh", json={"refresh_token": canary}),
        ]
    assert [reply.status_code for reply in replies] == [401] * 3
    for reply in replies:  # each is there as a line and as a span, so it could be seen
        sent = reply.headers["X-Request-ID"]
        until(lambda i=sent: lines_of(trio.gateway, request_id=i, event="http.request"))
        until(lambda i=sent: [s for s in receiver.spans if s.attributes.get("request_id") == i])
    signals = {"spans": str(receiver.spans)}
    for service in trio.services:
        signals[f"log of {service.name}"] = service.log.read_text()
        signals[f"metrics of {service.name}"] = str(service.samples())
    assert [where for where, text in signals.items() if canary.lower() in text.lower()] == []
