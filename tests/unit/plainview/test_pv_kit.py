"""The kit is for any observed service: another one's dashboards and alerts know nothing of us."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from plainview import LIBRARY_METRICS, Alert, kit
from plainview.kit import (
    Dashboard,
    Kit,
    Thresholds,
    generic_alerts,
    logs_and_traces,
    names,
    overview,
    recording,
    slos,
    system,
    telemetry,
)
from plainview.kit.rules import Rules

SHOP = Kit(
    services=("shop", "stock"),
    prefix="shop",
    tag="shop",
    handbook="https://git.example.com/shop/kit",
    log_days={"general": 7},
)
ALERTS = generic_alerts(SHOP)
BOARDS: dict[str, Dashboard] = {
    board.name: board
    for board in (
        overview(SHOP, ALERTS),
        system(SHOP),
        slos(SHOP),
        logs_and_traces(SHOP),
        telemetry(SHOP),
    )
}
OURS = re.compile(r"\b(er-|event.rewards|gateway|reward|claim|seeder|8002)", re.IGNORECASE)
KNOWN = names.known(SHOP, [LIBRARY_METRICS])


def test_nothing_of_event_rewards_is_in_it() -> None:
    texts = [json.dumps(board.json()) for board in BOARDS.values()]
    texts += [f"{alert.expr} {alert.summary}" for alert in ALERTS]
    assert [found for text in texts for found in OURS.findall(text)] == []


@pytest.mark.parametrize("name", BOARDS)
def test_its_panels_ask_for_what_the_library_exposes(name: str) -> None:
    for panel in BOARDS[name].panels():
        for query in panel.queries:
            if query.source == "prometheus":
                assert names.metrics_in(query.expr) <= KNOWN, panel.title


def test_its_rules_ask_for_what_the_library_exposes() -> None:
    exprs = [alert.expr for alert in ALERTS]
    exprs += [rule["expr"] for group in recording.groups(SHOP) for rule in group["rules"]]
    assert set().union(*map(names.metrics_in, exprs)) <= KNOWN


def test_services_and_thresholds_are_those_of_the_kit() -> None:
    strict = Kit(services=("shop",), thresholds=Thresholds(error_ratio=0.01, latency_s=0.25))
    alerts = {alert.name: alert.expr for alert in generic_alerts(strict)}
    assert 'absent(up{job="shop"})' in alerts["TargetAbsent"]
    assert "> 0.01 " in alerts["ApiErrorRate"]
    assert 'le="0.25"' in strict.slos[1].good
    with pytest.raises(ValueError, match="is not one of"):
        Thresholds(latency_s=0.3)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_finds_its_panel(alert: Alert) -> None:
    if alert.dashboards:
        assert Rules(SHOP, BOARDS).place(alert)[1]


def test_an_alert_links_its_runbook_its_dashboard_and_its_panel() -> None:
    rules = Rules(SHOP, BOARDS)
    (alert,) = [each for each in ALERTS if each.name == "ApiErrorRate"]
    texts = rules.texts_of(alert)
    uid, panel = rules.place(alert)
    assert texts["runbook_url"] == "https://git.example.com/shop/kit/runbooks/api-error-rate.md"
    assert texts["dashboard_url"] == f"http://localhost:3000/d/{uid}?viewPanel={panel}"
    assert uid == "shop-system"
    assert "{{ $value | humanizePercentage }}" in texts["summary"]
    with pytest.raises(KeyError):
        rules.place(Alert("Lost", "up == 0", "x", dashboards=("system",), panel="no such panel"))


def test_each_alert_has_its_page_and_queries_of_pages_name_what_there_is() -> None:
    folder = Path(kit.__file__).parent / "runbooks"
    assert {page.stem for page in folder.glob("*.md")} == {alert.runbook for alert in ALERTS}
    for page in folder.glob("*.md"):
        (block,) = re.findall(r"```promql\n(.*?)```", page.read_text(), re.S)
        for query in block.splitlines():
            assert names.metrics_in(query) <= KNOWN, f"{page.name}: {query}"
