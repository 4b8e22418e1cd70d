"""What the services expose is what the catalogues declare, both ways: names, types, labels."""

import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from auth.signals import CATALOGUE as AUTH
from event.signals import CATALOGUE as EVENT
from gateway.signals import CATALOGUE as GATEWAY
from monitoring.settings import JOB_STALE_S
from plainview import LIBRARY_METRICS, Catalogue
from plainview.decode import parse_metrics
from shared.background import CATALOGUE as BACKGROUND
from tests.support.trio import Service, Trio

JOB_SUCCESS = "background_job_last_success_timestamp_seconds"
JOBS = {
    "gateway": {"active_users"},
    "auth": {"relay", "population", "active_days"},
    "event": {"consumer", "reconciler", "gauges"},
}
# Python's own collectors, which no catalogue lists one by one.
FOREIGN = ("python_", "process_")


def exposed(service: Service) -> dict[str, tuple[str, frozenset[str]]]:
    """Name to type and the labels seen; a counter has its `_total` again."""
    text = httpx.get(f"{service.url}/metrics").text
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = frozenset(
            label for sample in family.samples for label in sample.labels if label != "le"
        )
        found[name] = (family.type, labels)
    return {name: what for name, what in found.items() if not name.startswith(FOREIGN)}


def declared(own: Catalogue) -> dict[str, tuple[str, frozenset[str]]]:
    return {
        metric.name: (metric.kind, frozenset(metric.labels))
        for catalogue in (LIBRARY_METRICS, BACKGROUND, own)
        for metric in catalogue.specs
        if not metric.name.startswith(FOREIGN)
    }


def service_of(trio: Trio, name: str) -> Service:
    return {"gateway": trio.gateway, "auth": trio.auth, "event": trio.events[0]}[name]


@pytest.mark.parametrize(
    ("name", "catalogue"), [("gateway", GATEWAY), ("auth", AUTH), ("event", EVENT)]
)
def test_scrape_equals_catalogue(trio: Trio, name: str, catalogue: Catalogue) -> None:
    account = trio.register()
    httpx.post(f"{trio.url}/api/v1/auth/login", json=account).raise_for_status()
    httpx.get(f"{trio.url}/api/v1/events", headers=trio.headers("member")).raise_for_status()
    found, expected = exposed(service_of(trio, name)), declared(catalogue)
    assert set(found) == set(expected)
    for metric, (kind, labels) in found.items():
        assert kind == expected[metric][0], metric
        # a metric that has had no series yet shows no labels
        assert labels <= expected[metric][1], metric
        assert labels in (frozenset(), expected[metric][1]), metric


@pytest.mark.parametrize("name", JOBS)
def test_every_job_tells_when_it_ended_well(trio: Trio, name: str) -> None:
    """BackgroundJobStale compares the time with Prometheus' own: ops/rules/ has its cases."""
    page = parse_metrics(httpx.get(f"{service_of(trio, name).url}/metrics").text)
    ages = {s.labels["task"]: time.time() - s.value for s in page if s.name == JOB_SUCCESS}
    assert set(ages) == JOBS[name]
    assert max(ages.values()) < JOB_STALE_S / 2
