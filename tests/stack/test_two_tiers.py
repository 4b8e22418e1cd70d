"""The Collector's two tiers, as deploy/kubernetes runs them: an agent before two Collectors.

Spans of one trace come from three services in several exports, among those of other traces. What
sampling, span metrics and service graph say is right only if the second tier gets traces whole.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from plainview.decode import Sample, parse_metrics
from tests.stack import programs
from tests.stack.stack import ANSWER_S
from tests.support.otlp import OtlpReceiver
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)
TRACES, FAILED, KEPT_PERCENT = 240, 30, 10
EXPORTED = 40  # spans in one export
EDGES = {("gateway", "event"), ("event", "auth"), ("event", "rewards")}

# service, name, kind, and which span of this list is the parent
SHAPE = [
    ("gateway", "POST /claims", Span.SPAN_KIND_SERVER, None),
    ("gateway", "POST", Span.SPAN_KIND_CLIENT, 0),
    ("event", "POST /claims", Span.SPAN_KIND_SERVER, 1),
    ("event", "find rewards", Span.SPAN_KIND_CLIENT, 2),
    ("event", "GET", Span.SPAN_KIND_CLIENT, 2),
    ("auth", "GET /keys", Span.SPAN_KIND_SERVER, 4),
]


class Sent:
    """So many traces in pieces: the failed ones are known by one span, auth's, alone."""

    def __init__(self) -> None:
        chosen = random.Random(7)  # the same traces, so the same sample, every time
        self.ids = [chosen.randbytes(16) for _ in range(TRACES)]
        waiting: dict[str, list[Span]] = defaultdict(list)
        for number, trace_id in enumerate(self.ids):
            for service, span in self._spans(trace_id, number < FAILED, chosen):
                waiting[service].append(span)
        for spans in waiting.values():
            chosen.shuffle(spans)
        self.exports = [
            (service, spans[start : start + EXPORTED])
            for start in range(0, TRACES * len(SHAPE), EXPORTED)
            for service, spans in waiting.items()
            if start < len(spans)
        ]

    @property
    def failed(self) -> set[str]:
        return {trace_id.hex() for trace_id in self.ids[:FAILED]}

    @staticmethod
    def _spans(trace_id: bytes, failed: bool, chosen: random.Random) -> Iterator[tuple[str, Span]]:
        own = [chosen.randbytes(8) for _ in SHAPE]
        begin = time.time_ns()
        for at, (service, name, kind, parent) in enumerate(SHAPE):
            span = Span(
                trace_id=trace_id,
                span_id=own[at],
                parent_span_id=b"" if parent is None else own[parent],
                name=name,
                kind=kind,
                start_time_unix_nano=begin + at * 10**6,
                end_time_unix_nano=begin + (20 - at) * 10**6,
            )
            if name == "find rewards":
                span.attributes.add(key="db.namespace").value.string_value = "rewards"
            if failed and service == "auth":
                span.status.code = Status.STATUS_CODE_ERROR
            yield service, span

    def send(self, endpoint: str) -> None:
        """One export after the other, the services in turn."""
        with httpx.Client(base_url=endpoint, timeout=ANSWER_S) as http:
            for service, spans in self.exports:
                request = ExportTraceServiceRequest()
                of = request.resource_spans.add()
                of.resource.attributes.add(key="service.name").value.string_value = service
                of.scope_spans.add().spans.extend(spans)
                headers = {"Content-Type": "application/x-protobuf"}
                body = request.SerializeToString()
                http.post("/v1/traces", content=body, headers=headers).raise_for_status()


@dataclass
class Tiers:
    """What was sent to the first tier, and what the Collectors of the second made of it."""

    sent: Sent
    ports: list[programs.Ports]  # of the second tier
    kept: list[OtlpReceiver]  # what each of its Collectors handed on

    def samples(self, page: str, name: str) -> Iterator[tuple[int, Sample]]:
        """Of a metric, each with the number of its Collector; `page` is its port's name."""
        for number, ports in enumerate(self.ports):
            url = f"http://127.0.0.1:{getattr(ports, page)}/metrics"
            for sample in parse_metrics(httpx.get(url, timeout=ANSWER_S).text):
                if sample.name == name:
                    yield number, sample

    def own(self, name: str, **labels: str) -> Counter[int]:
        """What each Collector counts of itself, over all series that have these labels."""
        found: Counter[int] = Counter()
        for number, sample in self.samples("collector_metrics", f"otelcol_{name}_total"):
            if labels.items() <= sample.labels.items():
                found[number] += int(sample.value)
        return found

    def counted(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """A counter that they make of spans, by these labels, summed over both."""
        found: Counter[tuple[str, ...]] = Counter()
        for _, sample in self.samples("collector_span_metrics", name):
            found[tuple(sample.labels.get(label, "") for label in labels)] += int(sample.value)
        return found


@pytest.fixture(scope="module")
def tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiers]:
    with ExitStack() as opened:
        tier = [programs.Ports.free() for _ in range(2)]
        kept = [opened.enter_context(OtlpReceiver()) for _ in tier]
        for ports, receiver in zip(tier, kept, strict=True):
            # The receiver is the console, which gets all that Jaeger gets; Jaeger is away.
            directory = tmp_path_factory.mktemp("collector")
            program = programs.collector(directory, ports, receiver.endpoint)
            program.environment |= {
                "TAIL_SAMPLE_PERCENT": str(KEPT_PERCENT),
                "TAIL_DECISION_WAIT": "6s",  # all pieces come in a tenth of that
                "COLLECTOR_FLUSH_INTERVAL": "1s",
            }
            opened.enter_context(program)
        first = programs.Ports.free()
        agent = programs.collector_agent(tmp_path_factory.mktemp("agent"), first, tier)
        opened.enter_context(agent)
        sent = Sent()
        sent.send(f"http://127.0.0.1:{first.collector_http}")
        yield Tiers(sent, tier, kept)


DECIDED = "processor_tail_sampling_global_count_traces_sampled"


def test_each_trace_is_in_one_collector(tiers: Tiers) -> None:
    spans = TRACES * len(SHAPE)
    until(lambda: tiers.own("receiver_accepted_spans").total() == spans, what=f"{spans} spans")
    until(lambda: tiers.own(DECIDED).total() >= TRACES, what="a decision on each trace")
    # a trace of which both had a piece would be new to both
    new = tiers.own("processor_tail_sampling_new_trace_id_received")
    assert new.total() == TRACES
    assert min(new[0], new[1]) > TRACES / 10, "one of them gets nearly all"


def test_what_is_kept_is_whole_and_every_error_is(tiers: Tiers) -> None:
    def kept() -> list[Counter[str]]:
        return [Counter(span.trace_id for span in each.spans) for each in tiers.kept]

    def whole() -> bool:
        traces = tiers.own(DECIDED, sampled="true").total()
        return sum(each.total() for each in kept()) >= traces * len(SHAPE) > 0

    until(lambda: tiers.own(DECIDED).total() >= TRACES, what="a decision on each trace")
    until(whole, what="all that was sampled")
    one, other = kept()
    assert not set(one) & set(other)
    found = one + other
    assert set(found.values()) == {len(SHAPE)}
    assert tiers.sent.failed <= set(found)
    rest = len(set(found) - tiers.sent.failed)
    assert 0 < rest < 3 * (TRACES - FAILED) * KEPT_PERCENT / 100


def test_span_metrics_count_each_span_once(tiers: Tiers) -> None:
    def counted() -> Counter[tuple[str, ...]]:
        labels = ("service_name", "span_name", "span_kind", "status_code")
        return tiers.counted("traces_span_metrics_calls_total", *labels)

    wanted: Counter[tuple[str, ...]] = Counter()
    for service, name, kind, _ in SHAPE:
        failed = FAILED if service == "auth" else 0
        key = service, name, Span.SpanKind.Name(kind)
        wanted[*key, "STATUS_CODE_UNSET"] = TRACES - failed
        if failed:
            wanted[*key, "STATUS_CODE_ERROR"] = failed
    until(lambda: counted().total() >= wanted.total(), what="as many calls as spans")
    assert counted() == wanted


def test_the_service_graph_has_each_edge(tiers: Tiers) -> None:
    def edges(name: str) -> dict[tuple[str, ...], int]:
        found = tiers.counted(f"traces_service_graph_request{name}_total", "client", "server")
        # whoever calls the gateway has no spans here: that is told later, and not looked at
        return {edge: number for edge, number in found.items() if edge[0] != "user" and number}

    until(lambda: sum(edges("").values()) >= TRACES * len(EDGES), what="all calls in the graph")
    assert edges("") == dict.fromkeys(EDGES, TRACES)
    assert edges("_failed") == {("event", "auth"): FAILED}
