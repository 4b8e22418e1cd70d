"""The helpers that tests of services rely on."""

import pytest
from opentelemetry import trace

from plainview import Catalogue, get_logger
from plainview.testing import captured_logs, captured_spans, metric_delta

CATALOGUE = Catalogue("testing")
PICKS = CATALOGUE.counter("picks_total", "Picks", labels={"colour": ("red", "blue")})
WAIT = CATALOGUE.histogram("wait_seconds", "Wait", buckets=(1, 2))


def test_delta_of_a_counter_by_label_and_in_all() -> None:
    PICKS.inc(5, colour="red")
    with metric_delta(PICKS, colour="red") as red, metric_delta(PICKS) as both:
        PICKS.inc(2, colour="red")
        assert red.value == 2
        PICKS.inc(colour="blue")
    PICKS.inc(colour="red")
    assert (red.value, both.value) == (2, 3)


async def test_delta_counts_observations_and_may_be_used_again() -> None:
    delta = metric_delta(WAIT)
    async with delta:
        WAIT.observe(0.5)
    assert delta.value == 1
    async with delta:
        assert delta.value == 0


def test_nothing_is_captured_after_the_block_though_it_failed() -> None:
    with (
        pytest.raises(ValueError, match="x"),
        captured_spans() as spans,
        captured_logs() as lines,
    ):
        raise ValueError("x")
    trace.get_tracer("t").start_span("later").end()
    get_logger().error("later.happened")
    assert (spans, lines) == ([], [])
