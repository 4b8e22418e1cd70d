"""Gauges that every replica reads from one database are not added up over replicas."""

import json
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

import auth.signals
import event.signals
from tests.stack.panels import DASHBOARDS, fill
from tests.stack.programs import ROOT

# of the process that tells it, not of the database
OF_A_PROCESS = {"auth_limiter_degraded"}
SHARED = {
    spec.name
    for catalogue in (auth.signals.CATALOGUE, event.signals.CATALOGUE)
    for spec in catalogue.specs
    if spec.kind == "gauge"
} - OF_A_PROCESS


def added(node: Any, within: str = "") -> Iterator[str]:
    """Shared gauges whose innermost aggregation counts a replica as one more."""
    if isinstance(node, promql_parser.VectorSelector):
        if node.name in SHARED and within in ("sum", "count", "group"):
            yield f"{within} of {node.name}"
        return
    if isinstance(node, promql_parser.AggregateExpr):
        within = str(node.op)
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs"):
        if (below := getattr(node, name, None)) is not None:
            yield from added(below, within)
    for each in getattr(node, "args", None) or ():
        yield from added(each, within)


def exprs(value: Any) -> Iterator[str]:
    """Every PromQL expression of a rule file or a dashboard."""
    if isinstance(value, dict):
        loki = "loki" in str(value.get("datasource")).lower()
        if isinstance(value.get("expr"), str) and not loki:
            yield value["expr"]
        value = [*value.values()]
    for each in value if isinstance(value, list) else ():
        yield from exprs(each)


QUERIES = {
    **{file.name: [*exprs(json.loads(file.read_text()))] for file in DASHBOARDS.glob("*.json")},
    **{
        file.name: [*exprs(yaml.safe_load(file.read_text()))]
        for file in (ROOT / "prometheus/rules").glob("*.yml")
    },
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_counts_replicas(name: str) -> None:
    found = {expr: [*added(promql_parser.parse(fill(expr)))] for expr in QUERIES[name]}
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
    assert [*added(promql_parser.parse(expr))] == wrong
