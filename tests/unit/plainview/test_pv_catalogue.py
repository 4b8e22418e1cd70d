"""The catalogue: closed sets at zero, bounds, replacing all series, what a mistake does."""

from enum import StrEnum

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from plainview import Alert, Bounded, Catalogue, Slo
from plainview.catalogue import OTHER
from plainview.decode import parse_metrics


class Outcome(StrEnum):
    GRANTED = "granted"
    REFUSED = "refused"


@pytest.fixture
def catalogue():
    return Catalogue("test")


def exposed(catalogue: Catalogue) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    catalogue.register(registry)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for sample in parse_metrics(generate_latest(registry).decode())
        if not sample.name.endswith("_created")
    }


def test_closed_sets_exist_at_zero_in_all_combinations(catalogue):
    catalogue.counter("claims_total", "Claims", labels={"outcome": Outcome, "kind": ("a", "b")})
    assert exposed(catalogue) == {
        ("claims_total", kind, outcome): 0 for outcome in Outcome for kind in "ab"
    }


def test_counts_before_and_after_registration(catalogue):
    claims = catalogue.counter("claims_total", "Claims", labels={"outcome": Outcome})
    claims.inc(outcome=Outcome.GRANTED)
    registry = CollectorRegistry()
    catalogue.register(registry)
    catalogue.register(registry)  # again does nothing
    claims.inc(2, outcome="granted")
    assert registry.get_sample_value("claims_total", {"outcome": "granted"}) == 3


def test_wrong_value_raises_in_tests_and_is_other_in_production(catalogue, monkeypatch):
    claims = catalogue.counter("claims_total", "Claims", labels={"outcome": Outcome})
    with pytest.raises(ValueError, match="claims_total: outcome='stolen'"):
        claims.inc(outcome="stolen")
    with pytest.raises(ValueError, match="labels"):
        claims.inc(result="granted")
    monkeypatch.setenv("PLAINVIEW_STRICT", "0")
    claims.inc(outcome="stolen")
    claims.inc(outcome="lost")
    claims.inc(result="granted")  # swallowed
    assert exposed(catalogue)["claims_total", OTHER] == 2


def test_dynamic_labels_are_bounded_together(catalogue):
    left = catalogue.gauge("stock_left", "Left", labels={"event": Bounded(3), "reward": Bounded(3)})
    for number in range(50):
        left.set(number, event=f"e{number}", reward=f"r{number}")
    series = exposed(catalogue)
    assert len(series) == 4
    assert series["stock_left", OTHER, OTHER] == 49


def test_replace_swaps_all_series_and_folds_the_rest(catalogue):
    rate = catalogue.gauge("joined", "Joined", labels={"event": Bounded(2)})
    rate.replace({("a",): 1, ("b",): 2, ("c",): 3, ("d",): 4})
    assert exposed(catalogue) == {("joined", "a"): 1, ("joined", "b"): 2, ("joined", OTHER): 7}
    rate.replace({("d",): 4, ("a",): 1, ("c",): 5, ("b",): 7}, fold=max)
    assert exposed(catalogue) == {("joined", "d"): 4, ("joined", "a"): 1, ("joined", OTHER): 7}
    rate.replace({})
    assert exposed(catalogue) == {}


def test_replace_resets_closed_sets_to_zero(catalogue):
    users = catalogue.gauge("users", "Users", labels={"window": ("day", "week")})
    users.replace({("day",): 3, ("week",): 9})
    users.replace({("day",): 4})
    assert exposed(catalogue) == {("users", "day"): 4, ("users", "week"): 0}


def test_histogram_times_a_block_that_raises(catalogue):
    work = catalogue.histogram("work_seconds", "Work", buckets=(60, 120), labels={"o": Outcome})
    with pytest.raises(RuntimeError), work.time(o=Outcome.REFUSED):
        raise RuntimeError
    work.observe(90, o=Outcome.REFUSED)
    series = exposed(catalogue)
    assert series["work_seconds_count", "refused"] == 2
    assert series["work_seconds_bucket", "60.0", "refused"] == 1
    assert series["work_seconds_count", "granted"] == 0


def test_declarations_are_checked_and_listed(catalogue):
    catalogue.counter("claims_total", "Claims", labels={"outcome": Outcome})
    catalogue.gauge("age_seconds", "Age", unit="seconds")
    with pytest.raises(ValueError, match="declared twice"):
        catalogue.gauge("claims_total", "Claims")
    with pytest.raises(ValueError, match="_total"):
        catalogue.counter("claims", "Claims")
    assert [(m.name, m.kind, m.unit) for m in catalogue.specs] == [
        ("claims_total", "counter", ""),
        ("age_seconds", "gauge", "seconds"),
    ]
    alert = catalogue.alert(Alert("RewardStockLow", "reward_stock_left < 5", "Little is left"))
    slo = catalogue.slo(Slo("claims", 0.999, "good", "all"))
    assert alert.runbook == "reward-stock-low"
    assert (catalogue.alerts, catalogue.slos) == ([alert], [slo])
