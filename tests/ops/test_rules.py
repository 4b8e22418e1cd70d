"""Rules and alerts: fresh, tested by promtool one by one, each with its runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.test_configuration import program, run
from tests.stack.programs import ROOT
from tools import alerts, rules

CASES = Path(__file__).parent / "rules"
NAMES = {alert.name for alert in alerts.ALERTS}
RUNBOOKS = {alert.runbook for alert in alerts.ALERTS}


def test_generated_files_are_fresh() -> None:
    for path, text in rules.generated().items():
        assert (ROOT / path).read_text() == text, f"{path}: make generate"


def test_promtool_accepts_the_rules() -> None:
    files = [str(path) for path in rules.generated() if path.parent == rules.RULES]
    run(program("promtool"), "check", "rules", "--lint-fatal", *files)


def test_an_unknown_metric_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    typo = alerts.Alert("Typo", 'sum by (service) (rate(http_request_total{a="b"}[5m])) > 1', "x")
    monkeypatch.setattr(alerts, "REWARDS", [typo])
    with pytest.raises(ValueError, match="http_request_total"):
        rules.generated()


def provisioned(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / rules.GRAFANA / name).read_text())
    return document


def test_grafana_rules() -> None:
    found = [rule for group in provisioned("rules.yaml")["groups"] for rule in group["rules"]]
    for key in ("uid", "title"):
        values = [rule[key] for rule in found]
        assert len(set(values)) == len(values) == len(alerts.ALERTS)
    for rule, alert in zip(found, alerts.ALERTS, strict=True):
        assert re.fullmatch(r"[a-z0-9-]{1,40}", rule["uid"])
        assert rule["data"][0]["model"]["expr"] == alert.expr
        assert "$$" not in str(rule["data"])
        assert rule["noDataState"] == "OK"
        assert rule["execErrState"] == "Error"
        assert "${" not in str(rule)  # Grafana would put a variable there


def test_every_severity_has_its_channel() -> None:
    document = provisioned("notifications.yaml")
    text = (ROOT / rules.GRAFANA / "notifications.yaml").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    for name in re.findall(r'"\$(\w+)"', text):
        assert re.search(rf"\n      {name}: \$\{{{name}:-\S+\}}\n", compose), f"{name} may be empty"
    assert ":-" not in text
    points = {
        point["name"]: {receiver["type"] for receiver in point["receivers"]}
        for point in document["contactPoints"]
    }
    (tree,) = document["policies"]
    routes = {route["object_matchers"][0][2]: route["receiver"] for route in tree["routes"]}
    channels = {value: points[receiver] for value, receiver in routes.items()}
    assert channels == {
        "Watchdog": {"webhook"}, "critical": {"pagerduty", "slack"},
        "warning": {"slack"}, "ticket": {"email"},
    }  # fmt: skip
    assert tree["routes"][0]["receiver"] == "deadman"
    assert {alert.severity for alert in alerts.ALERTS} == {"critical", "warning", "ticket", "none"}
    muted = {name for route in tree["routes"] for name in route.get("mute_time_intervals", [])}
    assert muted == {mute["name"] for mute in document["muteTimes"]}
    uids = [receiver["uid"] for p in document["contactPoints"] for receiver in p["receivers"]]
    assert len(set(uids)) == len(uids)
