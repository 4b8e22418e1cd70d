"""The marks on all graphs, in Prometheus' own words: a new version, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

from plainview.kit.board import marks
from tests.ops.checks import program, run
from tests.stack.panels import fill


def test_a_new_version_is_marked_once_and_a_first_start_or_a_restart_is_not(tmp_path: Path) -> None:
    """`shop` gets 2.0 after 20 minutes, `till` comes then for the first time, `desk` restarts."""
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
    }
    expected = {10: None, 19: None, 22: "shop", 24: "shop", 35: None}
    tests = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{service="{service}",version="2.0"}}', "value": 1}]
                if service
                else [],
            }
            for minute, service in expected.items()
        ],
    }
    path = tmp_path / "marks.yaml"
    path.write_text(json.dumps({"tests": [tests]}))
    run(program("promtool"), "test", "rules", str(path))
