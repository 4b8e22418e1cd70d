"""Recording rules, alert rules for Prometheus and Grafana, and their table: `make generate`.

Grafana evaluates and notifies; the same rules in Prometheus give `ALERTS` to dashboards and tests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from monitoring import alerts, dashboards, names, recording
from plainview import Alert

Json = dict[str, Any]

RULES = Path("prometheus/rules")
GRAFANA = Path("grafana/provisioning/alerting")
RUNBOOKS = Path("docs/runbooks")
HEADER = "# Written by `make generate` from monitoring/{source}: change that, not this.\n"
FOLDER = "Event Rewards alerts"


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
        "runbook_url": f"{alerts.HANDBOOK}/{RUNBOOKS}/{alert.runbook}.md",
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
        recording.group(
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


def _yaml(document: Json, source: str = "alerts.py") -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
    return HEADER.format(source=source) + text


def generated() -> dict[Path, str]:
    """File and text of all rules; ValueError if one names an unknown metric."""
    groups = [*recording.groups(), *prometheus_groups()]
    known = names.known()
    unknown = {
        (rule.get("record") or rule["alert"]): missing
        for group in groups
        for rule in group["rules"]
        if (missing := names.metrics_in(rule["expr"]) - known)
    }
    if unknown:
        raise ValueError(f"metrics that nobody declares: {unknown}")
    return {
        RULES / "recording.yml": _yaml({"groups": recording.groups()}, "recording.py"),
        RULES / "alerts.yml": _yaml({"groups": prometheus_groups()}),
        GRAFANA / "rules.yaml": _yaml(grafana_groups()),
    }
