"""A dashboard: rows of panels, its variables, its links; written as Grafana's classic JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from urllib.parse import quote

from .config import Kit
from .panels import PROMETHEUS, SIZE, SIZES, WIDTH, Json, Panel


def _explore(source: str, query: Json) -> str:
    """Grafana's address of a search in the last hour."""
    pane = {
        "datasource": source,
        "queries": [{"refId": "A", **query}],
        "range": {"from": "now-1h", "to": "now"},
    }
    name = "trace" if "query" in query else "traces"
    return "/explore?schemaVersion=1&panes=" + quote(json.dumps({name: pane}))


EXPLORE_TRACES = _explore("jaeger", {"queryType": "search"})
# Link to the trace in a table's cell. Grafana replaces both words, so they must not be encoded.
EXPLORE_TRACE = (
    _explore("SOURCE", {"query": "TRACE"})
    .replace("SOURCE", "${jaeger}")
    .replace("TRACE", "${__value.raw}")
)
TRACE_LINK = {"title": "Open the trace", "url": EXPLORE_TRACE, "targetBlank": False}


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
    """A variable with the values of a label (`label_values(...)`); "All" is chosen at first."""
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
    """A variable for free text."""
    return {
        "name": name,
        "type": "textbox",
        "label": label,
        "query": default,
        "current": {"text": default, "value": default},
        "hide": 0,
        "options": [],
    }


def links(kit: Kit) -> list[Json]:
    """Links to other dashboards, with time and variables, and to logs, traces, alerts, runbooks."""
    common: Json = {"icon": "external link", "targetBlank": False, "tooltip": "", "tags": []}
    others = {
        **common, "type": "dashboards", "title": "Dashboards", "tags": [kit.tag], "url": "",
        "asDropdown": True, "includeVars": True, "keepTime": True,
    }  # fmt: skip
    logs = f"/d/{kit.uid('logs')}?${{service:queryparam}}&${{environment:queryparam}}"
    pages = {
        **({"Logs": logs} if "loki" in kit.parts else {}),
        "Traces": EXPLORE_TRACES,
        "Alerts": "/alerting/list",
        **({"Runbooks": f"{kit.handbook}/alerts.md"} if kit.handbook else {}),
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
class Row:
    """A row of panels under a title; `size` is for panels that have none."""

    title: str
    panels: list[Panel]
    size: tuple[int, int] | None = None

    def size_of(self, panel: Panel) -> tuple[int, int]:
        """The size of a panel: columns (of 24) and rows."""
        return panel.size or self.size or SIZES.get(panel.kind, SIZE)


@dataclass
class Dashboard:
    """Rows of panels, laid out from left to right and from top to bottom."""

    kit: Kit
    name: str  # its file's name, and the end of its UID
    title: str
    why: str
    rows: list[Row]
    refresh: str = "30s"
    since: str = "now-1h"
    variables: list[Json] = field(default_factory=list)  # besides environment and service

    @property
    def uid(self) -> str:
        """The UID in the dashboard's address."""
        return self.kit.uid(self.name)

    def json(self) -> Json:
        """The classic dashboard model, ready for a file provider."""
        sources = [source_variable(name) for name in ("prometheus", "loki", "jaeger")]
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.why,
            "tags": [self.kit.tag],
            "schemaVersion": 41,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": self.refresh,
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "templating": {"list": [*sources, *service_variables(), *self.variables]},
            "links": links(self.kit),
            "annotations": {"list": []},
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        panels: list[Json] = []
        y = 0
        for row in self.rows:
            place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
            )
            y += 1
            x = height = 0
            for panel in row.panels:
                width, rows = row.size_of(panel)
                if x + width > WIDTH:
                    x, y, height = 0, y + height, 0
                place = {"x": x, "y": y, "w": width, "h": rows}
                panels.append(panel.json(len(panels) + 1, place))
                x, height = x + width, max(height, rows)
            y += height
        return panels
