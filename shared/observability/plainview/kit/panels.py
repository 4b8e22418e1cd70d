"""Panels of Grafana's classic dashboard JSON (schemaVersion 41), each with a title and a reason.

Data sources are variables of the dashboard, so it can be imported elsewhere as it is.
grafana-foundation-sdk was tried: it takes twice as many lines and is tied to a Grafana version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

PROMETHEUS: Json = {"type": "prometheus", "uid": "${prometheus}"}
LOKI: Json = {"type": "loki", "uid": "${loki}"}

GOOD, WARN, BAD, PLAIN = "green", "orange", "red", "text"
WIDTH = 24
SIZE = (12, 8)  # default of a panel: columns (of 24), rows
SIZES = {"stat": (4, 4), "logs": (24, 10)}


@dataclass(frozen=True)
class Query:
    """One query: an expression, the legend of its series, and how it is asked."""

    expr: str
    legend: str = "__auto"
    instant: bool = False
    exemplars: bool = False
    format: str = "time_series"
    source: str = "prometheus"
    limit: int = 200  # log lines

    def target(self, index: int) -> Json:
        """The target of a panel."""
        target: Json = {
            "refId": chr(ord("A") + index),
            "datasource": PROMETHEUS if self.source == "prometheus" else LOKI,
            "expr": self.expr,
            "legendFormat": self.legend,
        }
        if self.source == "loki":
            return {
                **target,
                "queryType": "instant" if self.instant else "range",
                "maxLines": self.limit,
            }
        return {
            **target,
            "instant": self.instant,
            "range": not self.instant,
            "exemplar": self.exemplars,
            "format": self.format,
        }


def by(labels: str, expr: str, legend: str = "", **how: Any) -> Query:
    """A query whose legend has the values of `labels` ("service, path"), then `legend`."""
    names = [f"{{{{{name}}}}}" for name in re.split(r",\s*", labels)]
    return Query(expr, " ".join([*names, legend] if legend else names), **how)


def cells(*expressions: str) -> list[Query]:
    """Queries of a table: the current values, one column each."""
    return [Query(expr, instant=True, format="table") for expr in expressions]


def steps(*bounds: tuple[float, str], base: str = GOOD) -> Json:
    """Thresholds: the colour `base` below the first bound, and a colour from each bound on."""
    return {
        "mode": "absolute",
        "steps": [
            {"color": base, "value": None},
            *({"color": colour, "value": value} for value, colour in bounds),
        ],
    }


@dataclass
class Panel:
    """One panel; `size` is (columns of 24, rows), by default that of its row or kind."""

    title: str
    why: str
    queries: list[Query]
    kind: str = "timeseries"
    unit: str = "short"
    size: tuple[int, int] | None = None
    thresholds: Json | None = None
    mappings: list[Json] = field(default_factory=list)
    no_data: str = "no data yet"
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    overrides: list[Json] = field(default_factory=list)
    transformations: list[Json] = field(default_factory=list)
    links: list[Json] = field(default_factory=list)
    colour: str = ""  # a colour scheme instead of thresholds or the palette
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None

    def json(self, number: int, place: Json) -> Json:
        """The panel as JSON with its ID and its place (`gridPos`)."""
        defaults: Json = {
            "unit": self.unit,
            "noValue": self.no_data,
            "mappings": self.mappings,
            "custom": self.custom,
            "color": {
                "mode": self.colour or ("thresholds" if self.thresholds else "palette-classic")
            },
            "thresholds": self.thresholds or steps(base=PLAIN),
        }
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.minimum is not None:
            defaults["min"] = self.minimum
        if self.maximum is not None:
            defaults["max"] = self.maximum
        source = self.queries[0].source if self.queries else "prometheus"
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.why,
            "datasource": LOKI if source == "loki" else PROMETHEUS,
            "gridPos": place,
            "fieldConfig": {"defaults": defaults, "overrides": self.overrides},
            "options": self.options,
            "targets": [query.target(index) for index, query in enumerate(self.queries)],
            "transformations": self.transformations,
            "links": self.links,
        }


def stat(title: str, why: str, query: Query, **changes: Any) -> Panel:
    """One number (or one per series), coloured by thresholds."""
    options = {
        "colorMode": "background" if changes.get("thresholds") else "value",
        "graphMode": "area" if not query.instant else "none",
        "justifyMode": "center",
        "textMode": changes.pop("text", "auto"),
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return Panel(title, why, [query], "stat", options=options, **changes)


def lines(title: str, why: str, *queries: Query, **changes: Any) -> Panel:
    """Lines over time; the legend has the last and the highest value."""
    stacked = changes.pop("stacked", False)
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if changes.get("thresholds") else "off"},
    }
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    panel = Panel(title, why, list(queries), custom=custom, options=options, **changes)
    panel.minimum = 0 if panel.minimum is None else panel.minimum
    return panel


def heatmap(title: str, why: str, query: Query, **changes: Any) -> Panel:
    """A histogram over time; the query gives buckets by `le`."""
    options = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 32, "reverse": False},
        "exemplars": {"color": "rgba(255,120,0,0.8)"},
        "yAxis": {"unit": changes.pop("unit", "s"), "axisPlacement": "left"},
        "cellGap": 1,
        "legend": {"show": True},
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": False},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
    }
    return Panel(title, why, [query], "heatmap", options=options, **changes)


def table(title: str, why: str, *queries: Query, **changes: Any) -> Panel:
    """The last values as a table."""
    options = {"showHeader": True, "cellHeight": "sm"}
    return Panel(title, why, list(queries), "table", options=options, **changes)


def bars(title: str, why: str, *queries: Query, **changes: Any) -> Panel:
    """A horizontal bar for each series, with its last value."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "valueMode": "text",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizHeight": 16,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    panel = Panel(title, why, list(queries), "bargauge", options=options, **changes)
    panel.minimum = 0 if panel.minimum is None else panel.minimum
    return panel


def organize(names: dict[str, str], hide: tuple[str, ...] = ("Time",)) -> Json:
    """Name and order the columns of a table; `hide` is hidden, other columns come last."""
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(hide, True),
            "indexByName": {name: place for place, name in enumerate(names)},
            "renameByName": names,
        },
    }


def sorted_by(column: str, *, descending: bool = False) -> Json:
    """Sort the rows of a table by a column."""
    return {
        "id": "sortBy",
        "options": {"fields": {}, "sort": [{"field": column, "desc": descending}]},
    }


def column(name: str, **properties: Any) -> Json:
    """Properties of one column of a table: `unit`, `mappings`, `links`, `custom__width`..."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("__", "."), "value": value} for key, value in properties.items()
        ],
    }


@dataclass(frozen=True)
class Column:
    """A column of values in a table; `how` are properties such as `unit`."""

    expr: str
    how: Mapping[str, Any] = field(default_factory=dict)


def merged(
    title: str, why: str, keys: Mapping[str, str], columns: Mapping[str, Column], **changes: Any
) -> Panel:
    """A table with a row for each set of labels: first its labels `keys`, then the values.

    `keys` maps labels to titles, `columns` maps titles to what they show.
    """
    names = {**keys, **{f"Value #{chr(65 + n)}": title for n, title in enumerate(columns)}}
    changes["transformations"] = [
        {"id": "merge", "options": {}},
        organize(names),
        *changes.get("transformations", []),
    ]
    changes["overrides"] = [
        column(title, **column_.how) for title, column_ in columns.items() if column_.how
    ]
    return table(title, why, *cells(*(each.expr for each in columns.values())), **changes)


def coloured(series: str, colour: str) -> Json:
    """A fixed colour for a series, or for those that match a `/regular expression/`."""
    how = "byRegexp" if series.startswith("/") else "byName"
    return {
        "matcher": {"id": how, "options": series},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
    }


def logs(title: str, why: str, expr: str, **changes: Any) -> Panel:
    """Log lines, newest first, each with its details."""
    options = {
        "showTime": True,
        "wrapLogMessage": True,
        "enableLogDetails": True,
        "sortOrder": "Descending",
        "dedupStrategy": "none",
    }
    query = Query(expr, source="loki", limit=changes.pop("limit", 200))
    return Panel(title, why, [query], "logs", options=options, **changes)


def timed(value: str, text: str, colour: str) -> Json:
    """Show a value as a word with a colour."""
    return {"type": "value", "options": {value: {"text": text, "color": colour}}}


UP = [timed("1", "up", GOOD), timed("0", "down", BAD)]
READY = [timed("1", "ready", GOOD), timed("0", "not ready", BAD)]
