"""The alerts of a kit's databases fire for every system alike, and not a step too early."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from plainview.kit import write
from tests.ops.checks import input_series, promtool_tests

# By db_system_name: the beginning of its alerts' names, and what their summaries call it.
SYSTEMS = {
    "mongodb": ("Mongo", "MongoDB"),
    "redis": ("Redis", "Redis"),
    "postgresql": ("Sql", "postgresql"),
    "sqlite": ("Sql", "sqlite"),
}
# Name of the alert, series, its first time, one step of 15 s before, value and cause.
FAILS = (
    "Failures",
    {"db_client_operation_duration_seconds_count{WHICH}": "0+50x60",
     'db_client_operation_failures_total{WHICH,error_type="timeout"}': "0+5x60",
     'db_client_operation_failures_total{WHICH,error_type="duplicate_key"}': "0+20x60"},
    ("1m15s", "1m"), "10 % of its commands fail",
)  # fmt: skip
AWAY = (
    "Failures",
    {"db_client_operation_duration_seconds_count{WHICH}": "100+0x60",
     "db_client_connection_failures_total{WHICH}": "0x12 0+1x48"},
    ("2m15s", "2m"), "0.2 connections a second cannot be made",
)  # fmt: skip
SLOW = (
    "Slow",
    {'db_client_operation_duration_seconds_bucket{WHICH,le="0.25"}': "0+90x90",
     'db_client_operation_duration_seconds_bucket{WHICH,le="0.5"}': "0+100x90",
     'db_client_operation_duration_seconds_bucket{WHICH,le="+Inf"}': "0+100x90"},
    ("5m15s", "5m"), "375 ms or more for 5 % of its commands",
)  # fmt: skip
FULL = (
    "Slow",
    {'db_client_connections{WHICH,state="used"}': "45x90",
     "db_client_connections_max{WHICH}": "50x90"},
    ("5m", "4m45s"), "90 % of its connections are in use",
)  # fmt: skip


def _tests(system: str, fault: Any) -> dict[str, Any]:
    alert, series, (fires, before), says = fault
    beginning, called = SYSTEMS[system]
    name, (_, _, cause) = f"{beginning}{alert}", says.partition(" ")
    which = f'service="shop",db_system_name="{system}"'
    labels = {
        "service": "shop",
        "severity": "critical" if alert == "Failures" else "warning",
        "cause": cause,
        **({"db_system_name": system} if beginning == "Sql" else {}),
    }
    verb = f"shop cannot use {called}" if alert == "Failures" else f"shop: {called} is slow"
    summary = {"summary": f"{verb}: {says}"}
    others = {f"{begin}{alert}" for begin, _ in SYSTEMS.values()} - {name}
    return {
        "name": f"{system}: {says}",
        "interval": "5s",
        "input_series": input_series({
            text.replace("WHICH", which): values for text, values in series.items()
        }),
        "alert_rule_test": [
            {"eval_time": before, "alertname": name, "exp_alerts": []},
            {"eval_time": fires, "alertname": name,
             "exp_alerts": [{"exp_labels": labels, "exp_annotations": summary}]},
            *({"eval_time": fires, "alertname": other, "exp_alerts": []} for other in others),
        ],
    }  # fmt: skip


def test_each_system_has_its_alerts(tmp_path: Path) -> None:
    write(tmp_path, service="shop", parts=["mongodb", "redis", "sqlalchemy"])
    rules = tmp_path / "prometheus/rules/alerts.yml"
    document = yaml.safe_load(rules.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(document))
    tests = [
        _tests(system, fault)
        for system in SYSTEMS
        for fault in (FAILS, AWAY, SLOW, FULL)
        if (system, fault) != ("redis", FULL)  # nothing measures its pool
    ]
    promtool_tests(tmp_path, *tests, rule_files=["rules.yml"], evaluation_interval="15s")


@pytest.mark.parametrize("parts", [["redis"], ["sqlalchemy"], ["mongodb", "sqlalchemy"]])
def test_only_what_there_is_has_alerts(tmp_path: Path, parts: Any) -> None:
    write(tmp_path, service="shop", parts=parts)
    groups = yaml.safe_load((tmp_path / "prometheus/rules/alerts.yml").read_text())["groups"]
    found = {rule["alert"] for group in groups for rule in group["rules"]}
    begin = {"mongodb": "Mongo", "redis": "Redis", "sqlalchemy": "Sql"}
    wanted = {f"{begin[part]}{end}" for part in parts for end in ("Failures", "Slow")}
    assert {name for name in found if name.startswith(tuple(begin.values()))} == wanted
    board = (tmp_path / "grafana/dashboards/system.json").read_text()
    assert ("database connections" in board) == (parts != ["redis"])
