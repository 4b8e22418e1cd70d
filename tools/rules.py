"""Recording rules, alert rules for Prometheus and Grafana, and their table: `make generate`.

Grafana evaluates and notifies; the same rules in Prometheus give `ALERTS` to dashboards and tests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from plainview import Alert
from plainview.settings import LATENCY_BUCKETS
from tools import alerts, dashboards

Json = dict[str, Any]

RULES = Path("prometheus/rules")
GRAFANA = Path("grafana/provisioning/alerting")
TABLE = Path("docs/alerts.md")
RUNBOOKS = Path("docs/runbooks")
HEADER = "# Written by `make generate` from tools/{source}: change that, not this.\n"
INTERVAL = "15s"
FOLDER = "Event Rewards alerts"
DIRECT = ("5m", "30m", "1h")  # from the counters
DERIVED = {"2h": 24, "6h": 72, "1d": 288, "3d": 864, "30d": 8640}  # so many spans of 5 minutes
SEVERITIES = {
    "critical": "PagerDuty and Slack", "warning": "Slack", "ticket": "e-mail",
    "none": "the dead man's switch",
}  # fmt: skip
# What others expose and rules read, as seen on the programs that compose pins.
EXTERNAL = {
    "scrape_samples_post_metric_relabeling",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
    "grafana_alerting_rule_evaluation_failures_total",
    "loki_discarded_samples_total",
    "loki_distributor_lines_received_total",
    "loki_ingester_wal_disk_full_failures_total",
    "otelcol_exporter_queue_capacity",
    "otelcol_exporter_queue_size",
    *(
        f"otelcol_{name}_spans{end}"
        for name in (
            "receiver_refused", "receiver_failed", "exporter_send_failed", "exporter_enqueue_failed"
        )
        for end in ("", "_total")
    ),
}  # fmt: skip


def metrics_in(expr: str) -> set[str]:
    """The names of metrics in a PromQL expression."""
    for noise in (
        r'"[^"]*"', r"\{[^}]*\}", r"\[[^\]]*\]",
        r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",
    ):  # fmt: skip
        expr = re.sub(noise, " ", expr)
    words = set(re.findall(r"(?<![\w:.])[a-z_][\w:]*\b(?!\s*\()", expr))
    return words - {"and", "or", "unless", "offset", "bool", "inf"}


def recording_groups() -> list[Json]:
    """RED and resources by service, objectives over all windows of the burn-rate alerts."""
    if alerts.LATENCY_S not in LATENCY_BUCKETS:
        raise ValueError("the latency threshold has to be a bucket, else it is a guess")
    every = 'http_requests_total{service!=""}'
    failed = 'http_requests_total{service!="",status_code=~"5.."}'
    duration = 'http_request_duration_seconds_bucket{service!=""}'
    red = {
        "service:http_requests:rate5m": f"sum by (service) (rate({every}[5m]))",
        "service:http_request_errors:ratio_rate5m": (
            f"(sum by (service) (rate({failed}[5m])) or service:http_requests:rate5m * 0)"
            " / (service:http_requests:rate5m > 0)"
        ),
        **{
            f"service:http_request_duration_seconds:p{percent}_5m": (
                f"histogram_quantile({percent / 100}, sum by (le, service)"
                f" (rate({duration}[5m]))) >= 0"  # NaN, of no traffic, is not data
            )
            for percent in (50, 95, 99)
        },
    }
    fast: list[Json] = []
    for slo in alerts.SLOS:
        for window in DIRECT:
            total = f"sum by (service) (rate({slo.total}[{window}]))"
            good = f"sum by (service) (rate({slo.good}[{window}]))"
            labels = {"slo": slo.name}
            fast += [
                _record(f"service:slo_requests:rate{window}", total, labels),
                _record(
                    f"service:slo_bad:rate{window}", f"{total} - ({good} or {total} * 0)", labels
                ),
            ]
    # Days of raw samples would be read again and again: sums of the five minutes instead. What
    # is missing counts as no traffic, so a fresh start stays below the floor of traffic.
    slow = [
        _record(
            f"service:slo_{part}:rate{window}",
            f"sum_over_time(service:slo_{part}:rate5m[{window}:5m]) / {count}",
        )
        for window, count in DERIVED.items()
        for part in ("requests", "bad")
    ]
    burn = [
        _record(
            f"service:slo_burn:rate{window}",
            f'service:slo_bad:rate{window}{{slo="{slo.name}"}}'
            f' / (service:slo_requests:rate{window}{{slo="{slo.name}"}} > 0)'
            f" / {round(1 - slo.objective, 6)}",
            {"slo": slo.name},
        )
        for slo in alerts.SLOS
        for window in (*DIRECT, *DERIVED)
    ]
    objectives = [
        _record("slo:objective:ratio", f"vector({slo.objective})", {"slo": slo.name})
        for slo in alerts.SLOS
    ]
    return [
        _group("red", [_record(name, expr) for name, expr in red.items()]),
        _group("slo", [*objectives, *fast]),
        _group("slo-long", slow, "1m"),
        _group("slo-burn", burn),
    ]


def _record(name: str, expr: str, labels: dict[str, str] | None = None) -> Json:
    return {"record": name, "expr": expr, **({"labels": labels} if labels else {})}


def _group(name: str, rules: list[Json], interval: str = INTERVAL) -> Json:
    return {"name": name, "interval": interval, "rules": rules}


def recorded() -> set[str]:
    """Names that recording rules make."""
    return {rule["record"] for group in recording_groups() for rule in group["rules"]}


def labels(alert: Alert) -> dict[str, str]:
    """What an alert carries besides the labels of its expression."""
    return {"severity": alert.severity, **alert.labels}


def texts_of(alert: Alert, value: str = "$value") -> dict[str, str]:
    """Summary and links; `value` is what the evaluating program calls the value."""

    def put(found: re.Match[str]) -> str:
        how = found[1]
        if how.startswith("%"):
            return f'{{{{ printf "{how}" {value} }}}}'
        return f"{{{{ {value} | {how} }}}}"

    texts = {
        "summary": re.sub(r"\{value:([%.\w]+)\}", put, alert.summary),
        "runbook_url": f"{alerts.REPOSITORY}/{RUNBOOKS}/{alert.runbook}.md",
    }
    if alert.dashboards:
        uid, panel = place(alert)
        view = f"?viewPanel={panel}" if panel else ""
        texts["dashboard_url"] = f"{alerts.GRAFANA}/d/{uid}{view}"
    return texts


def place(alert: Alert) -> tuple[str, int]:
    """UID of an alert's dashboard and the number of its panel, 0 without; KeyError if unknown."""
    dashboard = dashboards.DASHBOARDS[alert.dashboards[0]]().json()
    panels = {panel["title"]: panel["id"] for panel in dashboard["panels"]}
    return dashboard["uid"], panels[alert.panel] if alert.panel else 0


def prometheus_groups() -> list[Json]:
    """The alerts as Prometheus evaluates them: generic ones apart from those of event rewards."""
    return [
        _group(
            name,
            [
                {
                    "alert": alert.name, "expr": alert.expr, "for": alert.for_,
                    "labels": labels(alert), "annotations": texts_of(alert),
                }
                for alert in declared
            ],
        )
        for name, declared in (("generic", alerts.GENERIC), ("event-rewards", alerts.REWARDS))
    ]  # fmt: skip


def grafana_groups() -> Json:
    """The same for Grafana: whatever the expression gives is an alert, 0 too (`up == 0`)."""
    groups = []
    for name, declared in (("generic", alerts.GENERIC), ("event-rewards", alerts.REWARDS)):
        rules = []
        for alert in declared:
            texts = texts_of(alert, "$values.A.Value")
            if alert.dashboards:
                uid, panel = place(alert)
                texts["__dashboardUid__"] = uid
                if panel:
                    texts["__panelId__"] = str(panel)
            suffix = "".join(f"-{value}" for value in alert.labels.values())
            # a threshold is a condition of Grafana; the real one stands in the expression
            threshold: Json = {
                "refId": "B", "type": "threshold", "expression": "A",
                "datasource": {"type": "__expr__", "uid": "__expr__"},
                "conditions": [{"evaluator": {"type": "gt", "params": [-1]}}],
            }  # fmt: skip
            query: Json = {
                "refId": "A", "expr": alert.expr, "instant": True, "range": False,
                "datasource": {"type": "prometheus", "uid": "prometheus"},
            }  # fmt: skip
            rules.append(
                {
                    "uid": f"{alert.runbook}{suffix}",
                    "title": f"{alert.name}{suffix}",
                    "condition": "B",
                    "for": alert.for_,
                    "noDataState": "OK",
                    "execErrState": "Error",
                    "isPaused": False,
                    "labels": labels(alert),
                    "annotations": texts,
                    "data": [
                        {
                            "refId": model["refId"],
                            "datasourceUid": model["datasource"]["uid"],
                            "relativeTimeRange": {"from": 600, "to": 0},
                            "model": model,
                        }
                        for model in (query, threshold)
                    ],
                }
            )
        groups.append(
            {"orgId": 1, "name": name, "folder": FOLDER, "interval": "30s", "rules": rules}
        )
    return {"apiVersion": 1, "groups": groups}


def table() -> str:
    """docs/alerts.md."""
    rows = [
        f"| [{alert.name}](runbooks/{alert.runbook}.md)"
        f"{''.join(f' ({value})' for value in alert.labels.values())} | {alert.severity}"
        f" | {alert.for_} | {_plain(alert.summary)} | `{alert.expr.replace('|', chr(92) + '|')}` |"
        for alert in alerts.ALERTS
    ]
    to = "; ".join(f"{severity}: {channel}" for severity, channel in SEVERITIES.items())
    return (
        "# Alerts\n\n"
        "Written by `make generate` from `tools/alerts.py`, where every threshold stands. Severity "
        f"decides who hears of it: {to}.\nAn expression gives nothing while all is well. Each "
        "alert is proven by `tests/ops/rules/` with promtool: it fires, not\none step earlier, not "
        "when healthy, not without traffic.\n\n"
        "| Alert | Severity | For | Says | Expression |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _plain(summary: str) -> str:
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"(\1)", summary)
    return re.sub(r"\{value[^}]*\}", "(value)", text)


def _yaml(document: Json, source: str = "alerts.py") -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
    return HEADER.format(source=source) + text


def generated() -> dict[Path, str]:
    """File and text of all rules; ValueError if one names an unknown metric."""
    groups = [*recording_groups(), *prometheus_groups()]
    known = dashboards.declared() | EXTERNAL | recorded()
    unknown = {
        (rule.get("record") or rule["alert"]): missing
        for group in groups
        for rule in group["rules"]
        if (missing := metrics_in(rule["expr"]) - known)
    }
    if unknown:
        raise ValueError(f"metrics that nobody declares: {unknown}")
    return {
        RULES / "recording.yml": _yaml({"groups": recording_groups()}, "rules.py"),
        RULES / "alerts.yml": _yaml({"groups": prometheus_groups()}),
        GRAFANA / "rules.yaml": _yaml(grafana_groups()),
        TABLE: table(),
    }
