"""A dashboard: what one sees first, folded rows below, variables, links, events of the services.

Written as Grafana's classic JSON.
"""

import json
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import quote

from .config import Kit
from .panels import PROMETHEUS, SERVICE_COLOURS, SIZE, SIZES, WIDTH, Json, Panel, coloured, number
from .promql import SERVICE, anywhere


def _explore(source: str, query: Json, **words: str) -> str:
    """Grafana's address of a search in the last hour, with its own variables for `words`."""
    pane = {
        "datasource": source,
        "queries": [{"refId": "A", "datasource": {"type": "jaeger", "uid": source}, **query}],
        "range": {"from": "now-1h", "to": "now"},
    }
    name = "trace" if "query" in query else "traces"
    url = "/explore?schemaVersion=1&panes=" + quote(json.dumps({name: pane}))
    for word, variable in words.items():  # encoded, Grafana would not know them
        url = url.replace(word, variable)
    return url


def link(title: str, url: str) -> Json:
    """A link that opens in the same tab."""
    return {"title": title, "url": url, "targetBlank": False}


# Link to the trace whose ID is in a table's cell.
TRACE_LINK = link(
    "Open the trace",
    _explore("SOURCE", {"query": "TRACE"}, SOURCE="${jaeger}", TRACE="${__value.raw}"),
)


def endpoint_links(kit: Kit) -> list[Json]:
    """From a row with Service, Method and Endpoint: to its log lines and to its traces."""
    service, endpoint = "${__data.fields.Service}", "${__data.fields.Endpoint:percentencode}"
    search = {"queryType": "search", "service": "SERVICE", "operation": "METHOD ENDPOINT"}
    chosen = f"var-service={service}&var-search={endpoint}&${{__url_time_range}}"
    traces = _explore(
        "SOURCE", search, SOURCE="${jaeger}", SERVICE=service, ENDPOINT=endpoint,
        METHOD="${__data.fields.Method}",
    )  # fmt: skip
    return [link("Its log lines", f"/d/{kit.uid('logs')}?{chosen}"), link("Its traces", traces)]


def query_variable(name: str, query: str, label: str, regex: str = "") -> Json:
    """A variable with the values of a label (`label_values(...)`); "All" is chosen at first.

    `regex` takes the value, and a text to show for it, from the answer of another query.
    """
    return {
        "name": name, "type": "query", "label": label, "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name}, "definition": query, "regex": regex,
        "refresh": 2, "includeAll": True, "multi": True, "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]}, "sort": 1, "options": [], "hide": 0,
    }  # fmt: skip


def text_variable(name: str, label: str) -> Json:
    """A variable for free text, empty at first."""
    return {
        "name": name, "type": "textbox", "label": label, "query": "",
        "current": {"text": "", "value": ""}, "hide": 0, "options": [],
    }  # fmt: skip


def _variables(*, by_service: bool) -> list[Json]:
    """What every dashboard has: the data sources, hidden, the environment and the service."""
    sources: list[Json] = [
        {
            "name": name, "type": "datasource", "query": name, "label": name.capitalize(),
            "current": {"text": name.capitalize(), "value": name}, "hide": 2,
            "includeAll": False, "multi": False, "options": [], "refresh": 1,
        }
        for name in ("prometheus", "loki", "jaeger")
    ]  # fmt: skip
    environments = "label_values(service_ready, environment)"
    services = 'label_values(service_ready{environment=~"$environment"}, service)'
    service = [query_variable("service", services, "Service")] if by_service else []
    return [*sources, query_variable("environment", environments, "Environment"), *service]


def _links(kit: Kit, *, by_service: bool) -> list[Json]:
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
        "Traces": _explore("jaeger", {"queryType": "search"}),
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


def marks(which: str = SERVICE) -> list[Json]:
    """Starts of processes, new versions, and critical alerts, as marks on all graphs.

    Each query gives the times of its marks in s since 1970, as values: a long range is asked in
    long steps, and what lasts for some of them would be many marks, or a band over the graph.
    """
    # When each version that ran in the last ten minutes was first seen in them. A version that was
    # there at their beginning is not new.
    seen = f"min by (service, version) (min_over_time(timestamp(service_info{which})[10m:15s]))"
    several = f"count by (service) ({seen}) > 1"
    critical = '{alertname!="Watchdog",severity="critical"'
    made = [
        (
            "Starts", "blue",
            f"max by (service, instance) (process_start_time_seconds{which})",
            "Start", "{{service}} at {{instance}} started",
        ),
        (
            "New versions", "purple",
            f"topk by (service) (1, {seen}) > time() - 570 and on (service) {several}",
            "New version", "{{service}} {{version}}",
        ),
        (
            "Critical alerts", "red",
            f"max by (alertname, service) (last_over_time(ALERTS_FOR_STATE{critical}}}[15m])"
            " and ignoring (alertstate)"
            f' last_over_time(ALERTS{critical},alertstate="firing"}}[15m]))',
            "{{alertname}}", "{{service}}",
        ),
    ]  # fmt: skip
    return [
        {
            "name": name, "datasource": PROMETHEUS, "enable": True,
            "hide": True,  # the switch, which takes room; the marks are shown
            "iconColor": colour, "expr": f"({when}) * 1000", "step": "15s",
            "titleFormat": title, "textFormat": text, "useValueForTime": True,
        }
        for name, colour, when, title, text in made
    ]  # fmt: skip


@dataclass
class Row:
    """A folded row of panels under a title; `size` is for panels that have none."""

    title: str
    panels: list[Panel]
    size: tuple[int, int] | None = None


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
        variables = [*_variables(by_service=self.by_service), *self.variables]
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
            "templating": {"list": variables},
            "links": _links(self.kit, by_service=self.by_service),
            "annotations": {"list": marks(SERVICE if self.by_service else anywhere())},
            "panels": self._panels(),
        }

    def panels(self) -> list[Panel]:
        """All panels, those of folded rows too."""
        return [*self.first, *(panel for row in self.rows for panel in row.panels)]

    def _panels(self) -> list[Json]:
        panels = self._placed(Row("", self.first), 0)
        y = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        for row in self.rows:
            panels.append(
                {
                    "id": number(f"row {row.title}"), "type": "row", "title": row.title,
                    "collapsed": True, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                    "panels": self._placed(row, y + 1),
                }
            )  # fmt: skip
            y += 1
        return panels

    def _placed(self, row: Row, y: int) -> list[Json]:
        """The panels of a row from left to right and from top to bottom."""
        placed = []
        x = height = 0
        for panel in row.panels:
            width, rows = panel.size or row.size or SIZES.get(panel.kind, SIZE)
            if x + width > WIDTH:
                x, y, height = 0, y + height, 0
            json_ = panel.json({"x": x, "y": y, "w": width, "h": rows})
            config = json_["fieldConfig"]
            config["overrides"] = [*self._colours(panel), *config["overrides"]]
            placed.append(json_)
            x, height = x + width, max(height, rows)
        return placed

    def _colours(self, panel: Panel) -> list[Json]:
        """Each service its colour on every dashboard, several lines of one in shades of it."""
        if panel.kind != "timeseries":
            return []
        named = {query.legend for query in panel.queries if query.legend.startswith("{{service}}")}
        found = []
        for service, colour in zip(self.kit.services, cycle(SERVICE_COLOURS), strict=False):
            if "{{service}}" in named:
                found.append(coloured(service, colour))
            if named - {"{{service}}"}:
                found.append(coloured(f"/^{service}[ :]/", colour, mode="shades"))
        return found
