"""Small helpers that make Grafana's classic dashboard JSON; each panel has a title and a reason.

Source of the model: Grafana's classic dashboard JSON, schemaVersion 41. Data sources are chosen by
the dashboard's own variables, so a dashboard can be imported elsewhere as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

PROMETHEUS: Json = {"type": "prometheus", "uid": "${prometheus}"}
LOKI: Json = {"type": "loki", "uid": "${loki}"}
JAEGER: Json = {"type": "jaeger", "uid": "${jaeger}"}

GOOD, WARN, BAD, PLAIN = "green", "orange", "red", "text"
WIDTH = 24


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


def steps(*bounds: tuple[float, str], base: str = GOOD) -> Json:
    """Thresholds: `base` below the first bound, then each bound's colour."""
    return {
        "mode": "absolute",
        "steps": [
            {"color": base, "value": None},
            *({"color": c, "value": v} for v, c in bounds),
        ],
    }


@dataclass
class Panel:
    """One panel; `size` is (columns of 24, rows)."""

    title: str
    why: str
    queries: list[Query]
    kind: str = "timeseries"
    unit: str = "short"
    size: tuple[int, int] = (12, 8)
    thresholds: Json | None = None
    mappings: list[Json] = field(default_factory=list)
    no_data: str = "no data yet"
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    overrides: list[Json] = field(default_factory=list)
    transformations: list[Json] = field(default_factory=list)
    links: list[Json] = field(default_factory=list)
    colour: str = ""  # a scheme, instead of thresholds or the palette
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel at its place."""
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
            "gridPos": {"x": x, "y": y, "w": self.size[0], "h": self.size[1]},
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
    return Panel(title, why, [query], "stat", options=options, **{"size": (4, 4), **changes})


def lines(title: str, why: str, *queries: Query, **changes: Any) -> Panel:
    """Lines over time, a legend with the last and the highest value."""
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
    """A table's columns in this order under these names; what is hidden, and the rest after it."""
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(hide, True),
            "indexByName": {name: place for place, name in enumerate(names)},
            "renameByName": names,
        },
    }


def sorted_by(column: str, *, descending: bool = False) -> Json:
    """A table's rows in the order of a column."""
    return {
        "id": "sortBy",
        "options": {"fields": {}, "sort": [{"field": column, "desc": descending}]},
    }


def column(name: str, **properties: Any) -> Json:
    """What differs in one column of a table: `unit`, `mappings`, `links`, `custom__width`..."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("__", "."), "value": value} for key, value in properties.items()
        ],
    }


def coloured(series: str, colour: str) -> Json:
    """One series, or those of a `/regular expression/`, in a colour of its own."""
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
    return Panel(title, why, [query], "logs", options=options, **{"size": (24, 10), **changes})


def timed(value: str, text: str, colour: str) -> Json:
    """A value shown as a word with a colour."""
    return {"type": "value", "options": {value: {"text": text, "color": colour}}}
