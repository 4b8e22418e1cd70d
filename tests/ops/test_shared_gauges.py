"""Gauges that every replica reads from one database are not added up over replicas."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

import auth.signals
import event.signals

ROOT = Path(__file__).resolve().parents[2]
# of the process that tells it, not of the database
OF_A_PROCESS = {"auth_limiter_degraded"}
SHARED = {
    spec.name
    for catalogue in (auth.signals.CATALOGUE, event.signals.CATALOGUE)
    for spec in catalogue.specs
    if spec.kind == "gauge"
} - OF_A_PROCESS
VARIABLE = re.compile(r"\$\{?(\w+)(:\w+)?\}?")


def added(expr: str) -> list[str]:
    """Shared gauges whose innermost aggregation counts a replica as one more."""
    return list(_added(promql_parser.parse(expr), ""))


def _added(node: Any, within: str) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        if node.name in SHARED and within in ("sum", "count", "group"):
            yield f"{within} of {node.name}"
        return
    if isinstance(node, promql_parser.AggregateExpr):
        within = str(node.op)
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs"):
        if (below := getattr(node, name, None)) is not None:
            yield from _added(below, within)
    for each in getattr(node, "args", None) or ():
        yield from _added(each, within)


def _exprs(value: Any) -> Iterator[str]:
    """Every PromQL expression of a rule file or a dashboard."""
    if isinstance(value, list):
        for each in value:
            yield from _exprs(each)
    elif isinstance(value, dict):
        kind = value.get("datasource")
        if isinstance(value.get("expr"), str) and "loki" not in str(kind).lower():
            yield value["expr"]
        for each in value.values():
            yield from _exprs(each)


def _plain(expr: str) -> str:
    """Without Grafana's variables."""
    return VARIABLE.sub(lambda found: "5m" if found[1].startswith("__") else "x", expr)


def queries() -> dict[str, list[str]]:
    """Expressions by file."""
    boards = {
        file.name: json.loads(file.read_text())
        for file in (ROOT / "grafana/dashboards").glob("*.json")
    }
    rules = {
        file.name: yaml.safe_load(file.read_text())
        for file in (ROOT / "prometheus/rules").glob("*.y*ml")
    }
    return {name: [*_exprs(value)] for name, value in {**boards, **rules}.items()}


QUERIES = queries()


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_counts_replicas(name: str) -> None:
    found = {expr: added(_plain(expr)) for expr in QUERIES[name]}
    assert {expr: wrong for expr, wrong in found.items() if wrong} == {}


def test_queries_ask_for_most_of_these_gauges() -> None:
    text = "\n".join(expr for exprs in QUERIES.values() for expr in exprs)
    assert len({name for name in SHARED if name in text}) > len(SHARED) / 2


@pytest.mark.parametrize(
    ("expr", "wrong"),
    [
        ("sum(events_active)", ["sum of events_active"]),
        ("sum by (x) (max by (y) (events_active))", []),
        ("max(sum(events_active) + 1)", ["sum of events_active"]),
        ("sum(max_over_time(events_active[5m]))", ["sum of events_active"]),
        ("sum(rate(http_requests_total[5m])) / max(events_active)", []),
    ],
)
def test_the_check_finds_sums(expr: str, wrong: list[str]) -> None:
    assert added(expr) == wrong
