"""The shipped rules in a real Prometheus on the real services: no error, data, and silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.tokens import Role
from tests.stack.conftest import Stack, until
from tools import names as names_
from tools import recording, rules

API = "/api/v1"
Round = Callable[[], None]
# What tests of this session do on purpose: they claim a reward until it is sold out.
ON_PURPOSE = {"StockExhausted"}


@pytest.fixture(scope="module")
def traffic(stack: Stack) -> Round:
    """A round of requests through all three services; a rate needs more than one."""
    trio = stack.trio
    account = {"email": f"{uuid4().hex}@example.com", "password": "seven quiet lamps at noon"}
    http = httpx.Client(base_url=trio.url + API)
    http.post("/auth/register", json={**account, "display_name": "Ann"}).raise_for_status()

    def round_() -> None:
        http.post("/auth/login", json=account).raise_for_status()
        http.get("/events", headers=trio.headers("boss", Role.OPERATOR)).raise_for_status()

    for _ in range(20):
        round_()
    return round_


def groups(stack: Stack) -> list[dict[str, Any]]:
    reply = httpx.get(f"{stack.prometheus_url}/api/v1/rules").raise_for_status()
    found: list[dict[str, Any]] = reply.json()["data"]["groups"]
    return found


def test_every_rule_is_evaluated_without_an_error(stack: Stack, traffic: Round) -> None:
    def evaluated() -> bool:
        every = [rule for group in groups(stack) for rule in group["rules"]]
        return bool(every) and all(rule["health"] != "unknown" for rule in every)

    until(evaluated, 100, "an evaluation of every group")
    every = [rule for group in groups(stack) for rule in group["rules"]]
    declared = [*recording.groups(), *rules.prometheus_groups()]
    assert len(every) == sum(len(group["rules"]) for group in declared)
    assert [rule for rule in every if rule["health"] != "ok"] == []
    failures = stack.query("sum(prometheus_rule_evaluation_failures_total)")
    assert [row["value"][1] for row in failures] == ["0"]
    assert len(stack.query('up{service="event"} == 1')) == 2  # errors of doubled targets show here


def test_every_recording_rule_gives_data(stack: Stack, traffic: Round) -> None:
    def empty() -> list[str]:
        traffic()
        return sorted(name for name in recording.recorded() if not stack.query(f"{name} >= 0"))

    until(lambda: not empty(), 330, f"data of {empty()}")
    for service in ("gateway", "auth", "event"):
        (row,) = stack.query(f'service:http_request_errors:ratio_rate5m{{service="{service}"}}')
        assert 0 <= float(row["value"][1]) < 0.05


def test_names_that_others_expose_exist(stack: Stack, traffic: Round) -> None:
    """What only a fault brings about, or a program that does not run here, is listed."""
    rare = {
        "grafana_alerting_rule_evaluation_failures_total",  # no Grafana here
        "loki_discarded_samples_total",  # of discarded lines only
    }
    names = set(httpx.get(f"{stack.prometheus_url}/api/v1/label/__name__/values").json()["data"])
    missing = names_.EXTERNAL - names - rare
    # the Collector and Jaeger name these with or without `_total`, one of both is enough
    spans = {name.removesuffix("_total") for name in missing if name.startswith("otelcol_")}
    assert missing - {name for name in missing if name.startswith("otelcol_")} == set()
    assert {name for name in spans if not {name, f"{name}_total"} & names} <= {
        "otelcol_exporter_send_failed_spans",  # of failures only
        "otelcol_exporter_enqueue_failed_spans",
    }


def test_only_the_watchdog_fires(stack: Stack, traffic: Round) -> None:
    def firing() -> set[str]:
        rows = stack.query('ALERTS{alertstate="firing"}')
        return {row["metric"]["alertname"] for row in rows}

    until(lambda: "Watchdog" in firing(), 60, "the watchdog")
    assert firing() - ON_PURPOSE == {"Watchdog"}
