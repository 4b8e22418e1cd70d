"""Every signal of a request is found in the program that keeps it, and leads to the others."""

import json
import time
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from plainview.decode import parse_metrics
from tests.stack.loki import Loki
from tests.stack.stack import ANSWER_S, Stack, send_traces, until

API = "/api/v1"
# the first test of a session starts everything; programs are stopped, started and waited for
pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def claims(stack: Stack) -> list[httpx.Response]:
    """Some traffic: an event, a reward, thirty members that join and claim it, some refused."""
    trio = stack.trio
    event_id, reward_id = trio.offer(stock=20)
    http, replies = trio.client(), []
    for _ in range(30):
        headers = trio.headers(uuid4().hex)
        http.post(f"/events/{event_id}/participations", headers=headers)
        key = {"Idempotency-Key": uuid4().hex}
        replies.append(http.post(f"/rewards/{reward_id}/requests", headers={**headers, **key}))
    trio.register()  # something for auth
    assert Counter(reply.status_code for reply in replies) == {201: 20, 409: 10}
    return replies


def exemplars(stack: Stack, since: float) -> list[dict[str, Any]]:
    durations = 'http_request_duration_seconds_bucket{service="gateway",path=~".+/requests"}'
    found = stack.get("query_exemplars", query=durations, start=since, end=time.time())
    return [exemplar["labels"] for series in found for exemplar in series["exemplars"]]


@pytest.fixture(scope="module")
def exemplar(stack: Stack, claims: list[httpx.Response]) -> str:
    """The trace of one of these claims: of former ones some met a service being restarted."""
    since = parsedate_to_datetime(claims[0].headers["Date"]).timestamp()
    found = until(lambda: exemplars(stack, since), what="an exemplar of a claim")
    return str(found[0]["trace_id"])


def test_an_exemplar_opens_its_trace(stack: Stack, exemplar: str) -> None:
    def whole() -> bool:
        """Each service sends its spans in batches of its own: all that is expected is there."""
        spans = stack.trace(exemplar)
        tags = [{tag["key"]: tag["value"] for tag in span["tags"]} for span in spans]
        return (
            {"gateway", "event"} <= {span["service"] for span in spans}
            and any(tag.get("db.system.name", tag.get("db.system")) == "mongodb" for tag in tags)
            and f"POST {API}/rewards/{{id}}/requests" in {span["operationName"] for span in spans}
        )

    until(whole, what="its trace in Jaeger, with MongoDB in it, and the claim by its name")


@pytest.mark.usefixtures("claims")
def test_span_metrics_and_service_graph(stack: Stack) -> None:
    services = '{service_name=~"gateway|auth|event"}'
    calls = f"sum by (service_name) (traces_span_metrics_calls_total{services})"
    until(lambda: len(stack.query(calls)) == 3, what="span metrics of all three services")
    edge = 'traces_service_graph_request_total{client="gateway",server="event"} > 0'
    until(lambda: stack.query(edge), what=edge)


def test_an_exemplar_opens_its_lines(loki: Loki, exemplar: str) -> None:
    def answered() -> list[dict[str, Any]]:
        """Its lines, once each service has told that it answered, which is its last one."""
        lines = loki.lines(f'{{service=~"gateway|event"}} | trace_id="{exemplar}"')
        last = [line for line in lines if json.loads(line["line"])["event"] == "http.request"]
        services = {line["labels"]["service"] for line in last}
        return lines if services == {"gateway", "event"} else []

    lines = until(answered, what="its lines")
    (request_id,) = {line["labels"]["request_id"] for line in lines}
    by_request = loki.lines(f'{{service=~".+"}} | request_id="{request_id}"')
    assert len(by_request) == len(lines)


def send_undelivered(stack: Stack, service: str, count: int) -> list[str]:
    """Traces that the Collector has decided on: they wait for Jaeger in its queue on disk."""
    before = sampler(stack, "new_trace_id_received")
    ids = send_traces(stack.traces_url, service, count)
    came = until(lambda: (now := sampler(stack, "new_trace_id_received")) >= before + count and now)
    decided = "global_count_traces_sampled"
    until(lambda: sampler(stack, decided) >= came, what="the sampling decision")
    return ids


def sampler(stack: Stack, name: str) -> float:
    """What the Collector counts of its tail sampling."""
    url = f"http://127.0.0.1:{stack.ports.collector_metrics}/metrics"
    metrics = httpx.get(url, timeout=ANSWER_S).text
    full = f"otelcol_processor_tail_sampling_{name}_total"
    return sum(sample.value for sample in parse_metrics(metrics) if sample.name == full)


def test_the_collector_keeps_what_jaeger_cannot_take(stack: Stack) -> None:
    """Spans wait for Jaeger on disk, also while the Collector itself is away."""
    stack.jaeger.stop()
    try:
        ids = send_undelivered(stack, "patient", 50)
        stack.collector.stop()
        stack.collector.start()
    finally:
        stack.jaeger.start()
    until(lambda: stack.traced(ids), 180, "all 50 traces")
