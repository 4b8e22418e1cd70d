"""Context across a broker: children, links, request IDs; garbage is ignored."""

import pytest
from opentelemetry import trace

from plainview import batch_span, consume_span, inject_context, produce_span, request_context
from plainview.context import current
from plainview.testing import captured_spans

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CARRIER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "request_id": "request-12345"}


def test_consumer_is_a_child_of_the_producer_and_has_its_request_id():
    with captured_spans() as spans:
        with request_context("request-12345"), produce_span("users:announcements"):
            carrier = inject_context()
        with consume_span("users:announcements", carrier, message_id="7-0"):
            inside = current()
        assert inside.request_id == "request-12345"
    produced, consumed = spans
    assert set(carrier) == {"traceparent", "request_id"}
    assert (produced.name, produced.kind) == ("send users:announcements", "producer")
    assert (consumed.name, consumed.kind) == ("process users:announcements", "consumer")
    assert (consumed.trace_id, consumed.parent_id) == (produced.trace_id, produced.span_id)
    assert consumed.attributes == {
        "messaging.system": "redis",
        "messaging.destination.name": "users:announcements",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.message.id": "7-0",
    }


def test_fields_may_be_bytes():
    carrier = {name.encode(): value.encode() for name, value in CARRIER.items()}
    with captured_spans() as spans, consume_span("s", carrier):
        inside = current()
    assert inside.request_id == "request-12345"
    assert (spans[0].trace_id, spans[0].parent_id) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "traceparent",
    [
        *(None, "", "garbage", 7, f"00-{TRACE}-{SPAN}-01-{'x' * 5000}"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01"),
    ],
)
def test_garbage_starts_a_trace_of_its_own(traceparent):
    with captured_spans() as spans, consume_span("s", {"traceparent": traceparent}):
        pass
    assert spans[0].parent_id == ""
    assert spans[0].trace_id != TRACE


@pytest.mark.parametrize("request_id", ["short", "x" * 65, "line\nbreak-1234", None])
def test_an_invalid_request_id_is_replaced(request_id):
    with captured_spans(), consume_span("s", {"request_id": request_id}):
        inside = current()
    assert inside.request_id != request_id
    assert len(inside.request_id) == 32


def test_consumer_ignores_the_span_it_happens_to_run_in():
    poll = trace.get_tracer("t").start_as_current_span("poll")
    with captured_spans() as spans, poll, consume_span("s", CARRIER):
        pass
    assert spans[0].parent_id == SPAN


def test_batch_links_to_every_message_that_has_a_context():
    other = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}
    with captured_spans() as spans, batch_span("s", [CARRIER, {}, other, {"traceparent": "?"}]):
        pass
    assert spans[0].name == "receive s"
    assert spans[0].parent_id == ""
    assert spans[0].links == [(TRACE, SPAN), ("1" * 32, "2" * 16)]
    assert spans[0].attributes["messaging.batch.message_count"] == 4
