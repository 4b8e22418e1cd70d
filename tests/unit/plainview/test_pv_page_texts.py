"""Pages whose unchanged series are not written anew say what prometheus_client's own would."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from plainview.page_texts import Remembered, encoded

FORMS = {
    "prometheus": "text/plain",
    "openmetrics": "application/openmetrics-text;version=1.0.0",
}


disable_created_metrics()  # as the library does


class Both:
    """The same metrics in a registry that remembers and in one that does not."""

    def __init__(self):
        self.remembers, self.plain = CollectorRegistry(), CollectorRegistry()
        self.counter = Counter("a", 'Has "quotes"', ["path"], registry=None)
        self.histogram = Histogram("b", "Seconds", ["path", "x"], buckets=(1, 2), registry=None)
        gauge = Gauge("c", "Another", registry=None)
        for metric in (self.counter, gauge, self.histogram):
            kept = metric if metric is gauge else Remembered(metric)
            self.remembers.register(kept)
            self.plain.register(metric)

    def count(self, path, value, exemplar=None):
        self.counter.labels(path).inc(1, exemplar)
        self.histogram.labels(path, "y").observe(value, exemplar)

    def pages(self, accept):
        encode, form = choose_encoder(accept)
        return encoded(self.remembers, encode, form), encode(self.plain)


VALUES = st.sampled_from([0.0, 0.5, 1.5, 9.0])
PATHS = st.sampled_from(["/a", '/"b"\n\\', "/ü{id}"])
EXEMPLARS = st.none() | st.just({"trace_id": "1"})


@given(st.lists(st.lists(st.tuples(PATHS, VALUES, EXEMPLARS), max_size=4), max_size=5))
@settings(max_examples=50, deadline=None)
def test_pages_have_the_lines_of_the_encoders_own(rounds):
    both = Both()
    for counts in [[], *rounds]:
        for path, value, exemplar in counts:
            both.count(path, value, exemplar)
        for accept in FORMS.values():
            page, own = both.pages(accept)
            assert sorted(page.splitlines()) == sorted(own.splitlines())
            assert page.endswith(b"# EOF\n") == own.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", FORMS.values(), ids=FORMS)
def test_only_series_that_changed_are_written_anew(accept):
    both = Both()
    for number in range(100):
        both.count(f"/{number}", 0.5)
    encode, form = choose_encoder(accept)
    written = []

    def counted(registry):
        written.append(encode(registry))
        return written[-1]

    first = encoded(both.remembers, counted, form)
    assert len(first) <= sum(map(len, written))
    written.clear()
    assert encoded(both.remembers, counted, form) == first
    assert len(written) == 3  # what is not remembered, and two headers
    both.count("/7", 0.0)
    written.clear()
    assert encoded(both.remembers, counted, form) != first
    assert len(written) == 5  # a series of each metric more


def test_other_readers_of_the_registry_have_the_values_of_now_even_while_a_page_is_made():
    both = Both()
    both.count("/a", 0.5)
    counted = Gauge("d", "Reads another metric", registry=both.remembers)
    counted.set_function(lambda: both.remembers.get_sample_value("a_total", {"path": "/a"}))
    both.plain.register(counted)
    for _ in range(2):
        remembered, plain = both.pages(FORMS["openmetrics"])
        assert sorted(remembered.splitlines()) == sorted(plain.splitlines())
        both.count("/a", 0.5)
    (some,) = both.remembers.restricted_registry(["b_count"]).collect()
    assert [(sample.name, sample.value) for sample in some.samples] == [("b_count", 3)]


def test_a_series_that_was_removed_and_is_there_again_is_written_anew():
    both = Both()
    both.count("/a", 0.5)
    both.pages(FORMS["prometheus"])
    both.histogram.clear()
    both.count("/a", 0.25)
    remembered, _ = both.pages(FORMS["prometheus"])
    assert b'b_sum{path="/a",x="y"} 0.25' in remembered
