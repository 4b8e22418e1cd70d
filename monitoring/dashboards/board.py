"""A dashboard: rows of panels, its variables, its links; written as Grafana's classic JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from urllib.parse import quote

from monitoring import alerts
from monitoring.dashboards.panels import PROMETHEUS, WIDTH, Json, Panel

TAG = "event-rewards"
# Grafana's address of a trace search
EXPLORE_TRACES = "/explore?schemaVersion=1&panes=" + quote(
    json.dumps(
        {
            "traces": {
                "datasource": "jaeger",
                "queries": [{"refId": "A", "queryType": "search"}],
                "range": {"from": "now-1h", "to": "now"},
            }
        }
    )
)
# ... and of the trace that a cell of a table names; Grafana puts the two words in
EXPLORE_TRACE = "/explore?schemaVersion=1&panes=" + (
    quote(
        json.dumps(
            {
                "trace": {
                    "datasource": "SOURCE",
                    "queries": [{"refId": "A", "query": "TRACE"}],
                    "range": {"from": "now-1h", "to": "now"},
                }
            }
        )
    )
    .replace("SOURCE", "${jaeger}")
    .replace("TRACE", "${__value.raw}")
)
TRACE_LINK = {"title": "Open the trace", "url": EXPLORE_TRACE, "targetBlank": False}
# Every series of a service has both labels; `All` matches whatever there is.
SERVICES = 'environment=~"$environment",service=~"$service"'


def source_variable(name: str) -> Json:
    """A data source chosen on the dashboard."""
    return {
        "name": name,
        "type": "datasource",
        "query": name,
        "label": name.capitalize(),
        "current": {"text": name.capitalize(), "value": name},
        "hide": 2,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
    }


def query_variable(name: str, query: str, label: str) -> Json:
    """A variable with the values that a label has, all of them at first: `label_values(...)`."""
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
        "options": [],
        "hide": 0,
    }


def service_variables() -> list[Json]:
    """Environment and service, as every dashboard has them."""
    return [
        query_variable("environment", "label_values(service_ready, environment)", "Environment"),
        query_variable(
            "service",
            'label_values(service_ready{environment=~"$environment"}, service)',
            "Service",
        ),
    ]


def text_variable(name: str, label: str, default: str) -> Json:
    """A free text."""
    return {
        "name": name,
        "type": "textbox",
        "label": label,
        "query": default,
        "current": {"text": default, "value": default},
        "hide": 0,
        "options": [],
    }


def links() -> list[Json]:
    """To the other dashboards, keeping time and variables; to logs, traces, alerts, runbooks."""
    common: Json = {"icon": "external link", "targetBlank": False, "tooltip": "", "tags": []}
    others = {
        **common, "type": "dashboards", "title": "Dashboards", "tags": [TAG], "url": "",
        "asDropdown": True, "includeVars": True, "keepTime": True,
    }  # fmt: skip
    pages = {
        "Logs": "/d/er-logs?${service:queryparam}&${environment:queryparam}",
        "Traces": EXPLORE_TRACES,
        "Alerts": "/alerting/list",
        "Runbooks": f"{alerts.HANDBOOK}/docs/alerts.md",
    }
    return [
        others,
        *(
            {
                **common, "type": "link", "title": title, "url": url, "asDropdown": False,
                "includeVars": False, "keepTime": title == "Logs",
            }
            for title, url in pages.items()
        ),
    ]  # fmt: skip


@dataclass
class Dashboard:
    """A dashboard: rows of panels, laid out from left to right, top to bottom."""

    uid: str
    title: str
    why: str
    rows: list[tuple[str, list[Panel]]]
    refresh: str = "30s"
    since: str = "now-1h"
    variables: list[Json] = field(default_factory=list)  # besides environment and service

    def json(self) -> Json:
        """The classic dashboard model, ready for a file provider."""
        panels: list[Json] = []
        y, number = 0, 0
        for title, row in self.rows:
            number += 1
            place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            panels.append(
                {
                    "id": number,
                    "type": "row",
                    "title": title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
            )
            y += 1
            x = height = 0
            for panel in row:
                width, rows = panel.size
                if x + width > WIDTH:
                    x, y, height = 0, y + height, 0
                number += 1
                panels.append(panel.json(number, x, y))
                x, height = x + width, max(height, rows)
            y += height
        sources = [source_variable(name) for name in ("prometheus", "loki", "jaeger")]
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.why,
            "tags": [TAG],
            "schemaVersion": 41,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": self.refresh,
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "templating": {"list": [*sources, *service_variables(), *self.variables]},
            "links": links(),
            "annotations": {"list": []},
            "panels": panels,
        }
