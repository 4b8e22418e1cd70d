"""The console's memory: bounded, and one request is found by either of its IDs."""

import json

from console.store import MAX_LINE, Line, Store
from plainview.decode import SpanRecord

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(trace_id: str, span_id: str, service: str = "gateway", **over: object) -> SpanRecord:
    values: dict[str, object] = {
        **{"trace_id": trace_id, "span_id": span_id, "parent_id": "", "service": service},
        **{"name": "GET /x", "kind": "server", "status": "unset"},
        **{"start_ns": 1_000_000_000, "end_ns": 1_020_000_000},
        **{"attributes": {}, "events": [], "links": []},
    }
    return SpanRecord(**{**values, **over})


def line(service: str, request_id: str, at: str, **fields: object) -> Line:
    doc = {"timestamp": at, "service": service, "request_id": request_id, "level": "info", **fields}
    return Line.parse(json.dumps(doc), service, 0.0)


def access(request_id: str, trace_id: str, status: int, duration: float) -> Line:
    fields = {
        **{"event": "http.request", "trace_id": trace_id, "span_id": trace_id[-16:]},
        **{"http_request_method": "GET", "http_route": "/api/v1/events"},
        **{"http_response_status_code": status, "duration_s": duration},
    }
    return line("gateway", request_id, "2026-11-20T10:00:00Z", **fields)


def test_a_request_is_found_by_either_id_with_lines_and_spans_of_all_services():
    store = Store()
    store.add_line(line("event", "req-00000001", "2026-11-20T10:00:00.2Z", event="second"))
    store.add_line(line("gateway", "req-00000001", "2026-11-20T10:00:00.1Z", trace_id=TRACE))
    store.add_line(line("gateway", "req-00000002", "2026-11-20T10:00:00.1Z", trace_id="f" * 32))
    store.add_spans([span(TRACE, "b", "event", start_ns=1_005_000_000), span(TRACE, "a")])
    for wanted in ("req-00000001", TRACE):
        found = store.find(wanted)
        assert found
        assert [s.span_id for s in found.spans] == ["a", "b"]
        assert [x.service for x in found.lines] == ["gateway", "event"], wanted
    assert store.find("req-00000009") is None


def test_memory_stays_within_its_bounds():
    store = Store(traces=10, spans_per_trace=3, spans=20, lines=5)
    for trace in range(50):
        store.add_spans(span(f"{trace:032x}", f"{trace}-{i}") for i in range(5))
        store.add_line(line("gateway", f"req-{trace:08}", "2026-11-20T10:00:00Z"))
    assert store.span_count <= 20
    assert sum(1 for _ in store.requests()) == 10
    assert len(store.lines) == 5
    assert len(store.find(f"{49:032x}").spans) == 3
    assert store.find(f"{0:032x}") is None


def test_a_trace_in_use_is_not_the_one_to_go():
    store = Store(traces=2)
    sent = [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")]
    store.add_spans(span(trace * 32, number) for trace, number in sent)
    assert store.find("a" * 32)
    assert store.find("b" * 32) is None


def test_long_values_are_cut():
    store = Store()
    store.add_spans([span(TRACE, "a", attributes={"x": "y" * 9_999, "n": 5})])
    found = store.find(TRACE)
    assert found
    assert len(found.spans[0].attributes["x"]) < 1_100
    assert found.spans[0].attributes["n"] == 5
    assert len(Line.parse("z" * 100_000, "auth", 0.0).text) == MAX_LINE


def test_slow_and_failed_requests_are_picked_newest_first():
    store = Store()
    for number, (status, duration) in enumerate([(200, 0.01), (500, 0.02), (201, 0.7), (503, 0.9)]):
        store.add_line(access(f"req-{number:08}", f"{number:032x}", status, duration))
    assert [r.request_id[-1] for r in store.requests()] == ["3", "2", "1", "0"]
    assert [r.request_id[-1] for r in store.requests("slow")] == ["3", "2"]
    assert [r.status for r in store.requests("failed")] == [503, 500]


def test_a_request_is_one_entry_whichever_comes_first_its_span_or_its_line():
    store = Store()
    attributes = {"http.response.status_code": 200, "http.route": "/api/v1/events"}
    store.add_spans([span(TRACE, TRACE[-16:], attributes=attributes)])
    (early,) = store.requests()
    assert (early.status, early.route, early.duration_s) == (200, "/api/v1/events", 0.02)
    store.add_line(access("req-00000001", TRACE, 200, 0.021))
    (known,) = store.requests()
    assert (known.request_id, known.trace_id) == ("req-00000001", TRACE)


def test_requests_that_share_a_clients_trace_are_told_apart():
    store = Store()
    for number in range(3):
        one = access(f"req-{number:08}", TRACE, 200, 0.01)
        one.text = one.text.replace(TRACE[-16:], f"{number:016x}")
        store.add_line(one)
    assert [r.request_id[-1] for r in store.requests()] == ["2", "1", "0"]


def test_what_is_not_json_is_a_general_line():
    for text in ("Traceback (most recent call last):", "[1, 2]", '{"broken', '"word"'):
        plain = Line.parse(text, "auth", 42.0)
        assert (plain.service, plain.log_type, plain.at) == ("auth", "general", 42.0)
        assert plain.fields() == {"message": text}


def test_odd_field_values_do_no_harm():
    odd = Line.parse('{"timestamp": [], "level": 5, "event": {"a": 1}}', "auth", 42.0)
    assert (odd.at, odd.level) == (42.0, "5")
