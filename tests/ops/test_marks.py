"""The marks on all graphs, in Prometheus' own words: a new version, and what is none."""

import json
from pathlib import Path

from plainview.kit.board import marks
from tests.ops.checks import program, run
from tests.stack.panels import fill


def test_a_new_version_is_marked_once_and_a_first_start_or_a_restart_is_not(tmp_path: Path) -> None:
    """`shop` gets 2.0 after 20 minutes, `till` comes then for the first time, `desk` restarts,
    `mart` goes back from 2.0 after 34, `both` runs two versions all the time."""
    (expr,) = [fill(mark["expr"]) for mark in marks() if mark["name"] == "New versions"]

    def info(service: str, instance: str, version: str) -> str:
        labels = f'service="{service}",instance="{instance}",version="{version}"'
        return f'service_info{{environment="local",{labels}}}'

    series = {
        info("shop", "one", "1.0"): "1x20 stale",
        info("shop", "two", "1.0"): "1x22 stale",
        info("shop", "one", "2.0"): "_x20 1x40",
        info("shop", "two", "2.0"): "_x22 1x40",
        info("till", "three", "1.0"): "_x20 1x40",
        info("desk", "four", "1.0"): "1x20 stale",
        info("desk", "five", "1.0"): "_x23 1x40",
        info("mart", "six", "2.0"): "1x34 stale",
        info("mart", "six", "1.0"): "_x34 1x40",
        info("both", "seven", "1.0"): "1x60",
        info("both", "eight", "2.0"): "1x60",
    }
    shop, mart = ("shop", "2.0", 20), ("mart", "1.0", 34)  # first seen at these minutes
    expected = {10: [], 19: [], 22: [shop], 29: [shop], 33: [], 36: [mart], 43: [mart], 50: []}
    tests = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {
                        "labels": f'{{service="{service}",version="{version}"}}',
                        "value": first * 60_000,
                    }
                    for service, version, first in found
                ],
            }
            for minute, found in expected.items()
        ],
    }
    path = tmp_path / "marks.yaml"
    path.write_text(json.dumps({"tests": [tests]}))
    run(program("promtool"), "test", "rules", str(path))


def test_a_critical_alert_is_marked_where_it_began_in_steps_of_any_length(tmp_path: Path) -> None:
    """Pending from minute 5, firing from 7 to 9; what only was pending is not marked."""
    (expr,) = [mark["expr"] for mark in marks() if mark["name"] == "Critical alerts"]
    down = 'alertname="ServiceDown",service="auth",severity="critical"'
    near = 'alertname="NotReady",service="auth",severity="critical"'
    series = {
        f"ALERTS_FOR_STATE{{{down}}}": "_x5 300x4 stale",
        f'ALERTS{{alertstate="pending",{down}}}': "_x5 1x1 stale",
        f'ALERTS{{alertstate="firing",{down}}}': "_x7 1x2 stale",
        f"ALERTS_FOR_STATE{{{near}}}": "_x5 300x4 stale",
        f'ALERTS{{alertstate="pending",{near}}}': "_x5 1x4 stale",
    }
    marked = [{"labels": '{alertname="ServiceDown",service="auth"}', "value": 300_000}]
    tests = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expr, "eval_time": f"{minute}m", "exp_samples": found}
            for minute, found in {5: [], 8: marked, 20: marked, 30: []}.items()
        ],
    }
    path = tmp_path / "marks.yaml"
    path.write_text(json.dumps({"tests": [tests]}))
    run(program("promtool"), "test", "rules", str(path))
