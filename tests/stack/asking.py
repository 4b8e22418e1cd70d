"""Whether a query gives data: at least one sample that is a number."""

import math
import re
import time
from collections.abc import Iterable

from monitoring.settings import EXPORTED
from tests.stack.panels import Target
from tests.stack.stack import Pipeline
from tests.support import promql

# Selectors, and panels by name, that only a fault fills: the test of test_faults_show_data.py
# that shows them.
EMPTY_WHEN_HEALTHY = {
    'ALERTS{alertstate="firing",severity="critical"}': "test_a_critical_alert_that_fires",
    "loki_discarded_samples_total": "test_lines_that_loki_refuses",
    'loki_discarded_samples_total{reason!~"too_far_behind|greater_than_max_sample_age"}': (
        "test_lines_that_loki_refuses"
    ),
    "telemetry: Lines refused by Loki A": "test_lines_that_loki_refuses",
    'otelcol_exporter_send_failed_spans{exporter!="otlp_http/console"}': (
        "test_spans_that_jaeger_refuses"
    ),
    'otelcol_exporter_enqueue_failed_spans{exporter!="otlp_http/console"}': (
        "test_spans_that_find_the_queue_full"
    ),
    "telemetry: Lost telemetry H": "test_spans_that_find_the_queue_full",
}
# What has no series here because its program does not run here: nothing shows these.
NOT_HERE = {
    "grafana_alerting_rule_evaluation_failures_total": "Grafana",
    "telemetry: Rules that fail B": "Grafana",
    # other versions of the Collector than this one write `_total`; so does Jaeger, but not this
    'otelcol_exporter_enqueue_failed_spans_total{exporter!="otlp_http/console"}': "a Collector",
    **dict.fromkeys(
        (
            *(EXPORTED - {"mongodb_ss_connections"}),
            'mongodb_ss_connections{conn_type="current"}',
            'mongodb_ss_connections{conn_type="available"}',
            *(f"system: Connections of the databases, of their limit {ref}" for ref in "AB"),
            *(f"system: Memory of the databases, of their limit {ref}" for ref in "AB"),
            *(f"system: Thrown out by Redis {ref}" for ref in "AB"),
            "system: Slow commands of Redis A",
            "system: Time of an operation inside MongoDB A",
        ),
        "the exporters of MongoDB and Redis",
    ),
}

# What may be there or not in a healthy time: an alert that was nearly one (others fill the panel),
# a warning of a service whose neighbour was restarted.
SOMETIMES = {
    *(
        f'ALERTS_FOR_STATE{{alertname!="Watchdog",severity=~"{which}"}}'
        for which in ("critical", "critical|warning")
    ),
    *(f"{board}: Newest warnings and errors A" for board in ("overview", "logs")),
}


def is_of_loki(expr: str) -> bool:
    """Reads what Loki tells Prometheus of itself."""
    return bool(re.search(r'\bloki_|job="loki"', expr))


def is_number(value: str) -> bool:
    return not math.isnan(float(value))


def has_series(stack: Pipeline, selector: str) -> bool:
    """There was such a series in this session; it may be gone with a process that ended."""
    return bool(stack.query(f"count(last_over_time({selector}[1h]))"))


def gives_data(stack: Pipeline, expr: str) -> bool:
    return any(is_number(row["value"][1]) for row in stack.query(expr))


def shows_data(stack: Pipeline, target: Target, step_s: int = 15, **variables: str) -> bool:
    """A panel's query, over all the time so far if the panel shows a time."""
    expr = target.filled(**variables)
    if target.source == "loki":
        assert stack.loki
        return bool(stack.loki.shown(expr, target.instant, stack.begin))
    if target.instant:
        return gives_data(stack, expr)
    rows = stack.history(expr, stack.begin, time.time(), step_s)
    return any(is_number(value) for row in rows for _, value in row["values"])


def without_series(stack: Pipeline, exprs: Iterable[str]) -> set[str]:
    """Selectors that never had a series, and expressions that have no selector at all."""
    read = {expr: promql.selectors(promql.parse(stack.prometheus_url, expr)) for expr in exprs}
    constant = {expr for expr, found in read.items() if not found}
    series = set().union(*read.values())
    return constant | {each for each in series if not has_series(stack, each)}
