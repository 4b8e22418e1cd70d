"""Of a tenth of the requests all spans are exported, of the others none; all have their lines."""

from collections import defaultdict
from pathlib import Path

import httpx

from plainview.decode import SpanRecord
from shared.tokens import Role
from tests.support.otlp import OtlpReceiver
from tests.support.servers import EmbeddedMongo
from tests.support.trio import Trio

PLENTY = 60  # that none or all of so many are sampled happens once in 500 runs


def test_all_spans_or_none_and_every_failure(
    mongo: EmbeddedMongo, redis_url: str, tmp_path: Path
) -> None:
    with (
        OtlpReceiver() as otlp,
        Trio(
            tmp_path,
            mongo.url,
            redis_url,
            TRACE_SAMPLE_RATIO="0.1",
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint,
        ) as trio,
    ):
        event = trio.events[0]
        with trio.client("somebody", Role.USER) as http:

            def ask(status: int) -> str:
                reply: httpx.Response = http.get("/events")
                assert reply.status_code == status, reply.text
                return reply.headers["x-request-id"]

            answered = [ask(200) for _ in range(PLENTY)]
            assert event.terminate() == 0  # it exports its last spans
            failed = [ask(503) for _ in range(PLENTY)]
        assert trio.gateway.terminate() == 0
        lines = {
            service.name: {
                line["request_id"]: line["trace_id"]
                for line in service.lines()
                if line["event"] == "http.request"
            }
            for service in (event, trio.gateway)
        }
        spans: dict[str, list[SpanRecord]] = defaultdict(list)
        for span in otlp.spans:
            spans[span.trace_id].append(span)
    sampled = 0
    for request in answered:
        trace = lines["gateway"][request]
        assert lines["event"][request] == trace
        found = {(span.service, span.kind) for span in spans[trace]}
        found.discard(("auth", "server"))  # now and then a service reads the keys of tokens there
        # each service has its server span, the gateway calls Redis and event, event MongoDB
        whole = {(name, kind) for name in ("gateway", "event") for kind in ("server", "client")}
        assert found in (set(), whole), found
        sampled += bool(found)
    assert 0 < sampled < PLENTY
    for request in failed:
        found_spans = spans[lines["gateway"][request]]
        server = [span for span in found_spans if span.kind == "server"]
        assert [(span.service, span.status) for span in server] == [("gateway", "error")]
        assert server[0].attributes["http.response.status_code"] == 503
    alone = [request for request in failed if len(spans[lines["gateway"][request]]) == 1]
    assert alone, "none of the failed requests was left out by the sampler"
