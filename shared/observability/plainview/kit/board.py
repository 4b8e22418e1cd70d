"""A dashboard: what one sees first, folded rows below, variables, links, events of the services.

Written as Grafana's classic JSON.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import quote

from .config import Kit
from .panels import (
    PROMETHEUS,
    SERVICE_COLOURS,
    SIZE,
    SIZES,
    WIDTH,
    Json,
    Panel,
    coloured,
    number,
)
from .promql import SERVICE, anywhere


def _explore(source: str, query: Json) -> str:
    """Grafana's address of a search in the last hour."""
    pane = {
        "datasource": source,
        "queries": [{"refId": "A", "datasource": {"type": "jaeger", "uid": source}, **query}],
        "range": {"from": "now-1h", "to": "now"},
    }
    name = "trace" if "query" in query else "traces"
    return "/explore?schemaVersion=1&panes=" + quote(json.dumps({name: pane}))


def _put(url: str, **words: str) -> str:
    """`url` with Grafana's own variables for words; encoded, Grafana would not know them."""
    for word, variable in words.items():
        url = url.replace(word, variable)
    return url


EXPLORE_TRACES = _explore("jaeger", {"queryType": "search"})
# Link to the trace whose ID is in a table's cell.
TRACE_LINK: Json = {
    "title": "Open the trace",
    "url": _put(_explore("SOURCE", {"query": "TRACE"}), SOURCE="${jaeger}", TRACE="${__value.raw}"),
    "targetBlank": False,
}


def endpoint_links(kit: Kit) -> list[Json]:
    """From a row with Service, Method and Endpoint: to its log lines and to its traces."""
    search = {"queryType": "search", "service": "SERVICE", "operation": "METHOD ENDPOINT"}
    fields = {
        "SERVICE": "${__data.fields.Service}",
        "METHOD": "${__data.fields.Method}",
        "ENDPOINT": "${__data.fields.Endpoint:percentencode}",
    }
    lines = f"/d/{kit.uid('logs')}?var-service=SERVICE&var-search=ENDPOINT&${{__url_time_range}}"
    traces = _put(_explore("SOURCE", search), SOURCE="${jaeger}", **fields)
    return [
        {"title": "Its log lines", "url": _put(lines, **fields), "targetBlank": False},
        {"title": "Its traces", "url": traces, "targetBlank": False},
    ]


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


def query_variable(name: str, query: str, label: str, regex: str = "") -> Json:
    """A variable with the values of a label (`label_values(...)`); "All" is chosen at first.

    `regex` takes the value, and a text to show for it, from the answer of another query.
    """
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "definition": query,
        "regex": regex,
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


def links(kit: Kit, *, by_service: bool = True) -> list[Json]:
    """Links to other dashboards, logs, traces, alerts, runbooks.

    Other dashboards keep their own time: 15 minutes say nothing about what is meant for a day.
    """
    common: Json = {"icon": "external link", "targetBlank": False, "tooltip": "", "tags": []}
    others = {
        **common, "type": "dashboards", "title": "Dashboards", "tags": [kit.tag], "url": "",
        "asDropdown": True, "includeVars": True, "keepTime": False,
    }  # fmt: skip
    chosen = ["environment", *(["service"] if by_service else [])]
    logs = f"/d/{kit.uid('logs')}?" + "&".join(f"${{{name}:queryparam}}" for name in chosen)
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


def _mark(name: str, colour: str, when: str, title: str, text: str) -> Json:
    """A mark on all graphs at the times that `when` gives, in s since 1970.

    Times as values: a long range is asked in long steps, and what lasts for some of them would be
    many marks, or a band over the graph.
    """
    return {
        "name": name,
        "datasource": PROMETHEUS,
        "enable": True,
        "hide": True,  # the switch, which takes room; the marks are shown
        "iconColor": colour,
        "expr": f"({when}) * 1000",
        "step": "15s",
        "titleFormat": title,
        "textFormat": text,
        "useValueForTime": True,
    }


def marks(which: str = SERVICE) -> list[Json]:
    """Starts of processes, new versions, and critical alerts, as marks on all graphs."""
    # When each version that ran in the last ten minutes was first seen in them. A version that was
    # there at their beginning is not new.
    seen = f"min by (service, version) (min_over_time(timestamp(service_info{which})[10m:15s]))"
    several = f"count by (service) ({seen}) > 1"
    critical = '{alertname!="Watchdog",severity="critical"'
    return [
        _mark(
            "Starts", "blue",
            f"max by (service, instance) (process_start_time_seconds{which})",
            "Start", "{{service}} at {{instance}} started",
        ),
        _mark(
            "New versions", "purple",
            f"topk by (service) (1, {seen}) > time() - 570 and on (service) {several}",
            "New version", "{{service}} {{version}}",
        ),
        _mark(
            "Critical alerts", "red",
            f"max by (alertname, service) (last_over_time(ALERTS_FOR_STATE{critical}}}[15m])"
            " and ignoring (alertstate)"
            f' last_over_time(ALERTS{critical},alertstate="firing"}}[15m]))',
            "{{alertname}}", "{{service}}",
        ),
    ]  # fmt: skip


@dataclass
class Row:
    """A folded row of panels under a title; `size` is for panels that have none."""

    title: str
    panels: list[Panel]
    size: tuple[int, int] | None = None

    def size_of(self, panel: Panel) -> tuple[int, int]:
        """The size of a panel: columns (of 24) and rows."""
        return panel.size or self.size or SIZES.get(panel.kind, SIZE)

    def placed(self, y: int) -> Iterator[tuple[Panel, Json]]:
        """Its panels from left to right and from top to bottom, with their places."""
        x = height = 0
        for panel in self.panels:
            width, rows = self.size_of(panel)
            if x + width > WIDTH:
                x, y, height = 0, y + height, 0
            yield panel, {"x": x, "y": y, "w": width, "h": rows}
            x, height = x + width, max(height, rows)


@dataclass
class Dashboard:
    """`first` is seen without scrolling; the rows below are folded until one opens them."""

    kit: Kit
    name: str  # its file's name, and the end of its UID
    title: str
    why: str
    first: list[Panel]
    rows: list[Row]
    refresh: str = "30s"
    since: str = "now-1h"
    variables: list[Json] = field(default_factory=list)  # besides environment and service
    by_service: bool = True  # whether one can choose services

    @property
    def uid(self) -> str:
        """The UID in the dashboard's address."""
        return self.kit.uid(self.name)

    def json(self) -> Json:
        """The classic dashboard model, ready for a file provider."""
        sources = [source_variable(name) for name in ("prometheus", "loki", "jaeger")]
        environment, service = service_variables()
        chosen = [environment, *([service] if self.by_service else []), *self.variables]
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
            "templating": {"list": [*sources, *chosen]},
            "links": links(self.kit, by_service=self.by_service),
            "annotations": {"list": marks(SERVICE if self.by_service else anywhere())},
            "panels": self._panels(),
        }

    def panels(self) -> list[Panel]:
        """All panels, those of folded rows too."""
        return [*self.first, *(panel for row in self.rows for panel in row.panels)]

    def _panels(self) -> list[Json]:
        panels = self._drawn(Row("", self.first), 0)
        y = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        for row in self.rows:
            panels.append(
                {
                    "id": number(f"row {row.title}"),
                    "type": "row",
                    "title": row.title,
                    "collapsed": True,
                    "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                    "panels": self._drawn(row, y + 1),
                }
            )
            y += 1
        return panels

    def _drawn(self, row: Row, y: int) -> list[Json]:
        drawn = []
        for panel, place in row.placed(y):
            json_ = panel.json(place)
            config = json_["fieldConfig"]
            config["overrides"] = [*self._colours(panel), *config["overrides"]]
            drawn.append(json_)
        return drawn

    def _colours(self, panel: Panel) -> list[Json]:
        """Each service its colour on every dashboard, several lines of one in shades of it."""
        if panel.kind != "timeseries":
            return []
        named = [query.legend for query in panel.queries if query.legend.startswith("{{service}}")]
        found = []
        for service, colour in zip(self.kit.services, cycle(SERVICE_COLOURS), strict=False):
            if "{{service}}" in named:
                found.append(coloured(service, colour))
            if set(named) - {"{{service}}"}:
                found.append(coloured(f"/^{service}[ :]/", colour, mode="shades"))
        return found
