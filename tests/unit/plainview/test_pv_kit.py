"""The kit is for any observed service: another one's dashboards and alerts know nothing of us."""

import json
import re
from pathlib import Path

import pytest

from plainview import LIBRARY_METRICS, Alert, kit
from plainview.kit import (
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
from plainview.kit.documents import Documents

SHOP = Kit(
    services=("shop", "stock"),
    prefix="shop",
    tag="shop",
    handbook="https://git.example.com/shop/kit",
    log_days={"general": 7},
)
ALERTS = generic_alerts(SHOP)
MADE = (overview(SHOP, ALERTS), system(SHOP), slos(SHOP), logs_and_traces(SHOP), telemetry(SHOP))
BOARDS = {board.name: board for board in MADE}
DOCUMENTS = Documents(SHOP, BOARDS, {}, set(), "", "")
OURS = re.compile(r"\b(er-|event.rewards|gateway|reward|claim|seeder|8002)", re.IGNORECASE)
KNOWN = names.known(SHOP, [LIBRARY_METRICS])


def test_nothing_of_event_rewards_is_in_it():
    texts = [json.dumps(board.json()) for board in BOARDS.values()]
    texts += [f"{alert.expr} {alert.summary}" for alert in ALERTS]
    assert [found for text in texts for found in OURS.findall(text)] == []


def queries():
    """Of panels, alerts, rules and runbooks, by where they stand."""
    for board in MADE:
        for panel in board.panels():
            for query in panel.queries:
                if query.source == "prometheus":
                    yield f"{board.name}: {panel.title}", query.expr
    yield from ((alert.name, alert.expr) for alert in ALERTS)
    for group in recording.groups(SHOP):
        yield from ((rule["record"], rule["expr"]) for rule in group["rules"])
    for page in (Path(kit.__file__).parent / "runbooks").glob("*.md"):
        (block,) = re.findall(r"```promql\n(.*?)```", page.read_text(), re.S)
        yield from ((page.name, query) for query in block.splitlines())


def test_queries_ask_for_what_the_library_exposes():
    unknown = [(where, names.metrics_in(query) - KNOWN) for where, query in queries()]
    assert [(where, found) for where, found in unknown if found] == []


def test_services_and_thresholds_are_those_of_the_kit():
    strict = Kit(services=("shop",), thresholds=Thresholds(error_ratio=0.01, latency_s=0.25))
    alerts = {alert.name: alert.expr for alert in generic_alerts(strict)}
    assert 'absent(up{job="shop"})' in alerts["TargetAbsent"]
    assert "> 0.01 " in alerts["ApiErrorRate"]
    assert 'le="0.25"' in strict.slos[1].good
    with pytest.raises(ValueError, match="is not one of"):
        Thresholds(latency_s=0.3)


def test_each_alert_has_its_panel_and_its_page():
    assert [
        alert.name for alert in ALERTS if alert.dashboards and not DOCUMENTS.place(alert)[1]
    ] == []
    pages = (Path(kit.__file__).parent / "runbooks").glob("*.md")
    assert {page.stem for page in pages} == {alert.runbook for alert in ALERTS}


def test_an_alert_of_an_unknown_panel_is_refused():
    with pytest.raises(KeyError):
        DOCUMENTS.place(Alert("Lost", "up", "x", dashboards=("system",), panel="no such panel"))
