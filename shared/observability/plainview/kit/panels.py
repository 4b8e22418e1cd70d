"""Panels of Grafana's classic dashboard JSON (schemaVersion 41), each with a title and a reason.

Data sources are variables of the dashboard, so it can be imported elsewhere as it is.
Why there is no grafana-foundation-sdk: docs/decisions/0010-panels-as-plain-json.md.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]

PROMETHEUS: Json = {"type": "prometheus", "uid": "${prometheus}"}
LOKI: Json = {"type": "loki", "uid": "${loki}"}

MIXED: Json = {"type": "datasource", "uid": "-- Mixed --"}  # of a panel that asks several

GOOD, WARN, BAD, PLAIN = "green", "orange", "red", "text"
# Of the services in their order, and of none of the above; readable on light and on dark.
SERVICE_COLOURS = ("#5b7be8", "#b36ae2", "#1fa8b8", "#c9719e", "#9a8058", "#7e8ca3")
BAR = "#5794f2"  # of bars whose names stand beside them
COLOURED_TEXT: Json = {"type": "color-text"}  # `cellOptions` of a column
WIDTH = 24
SIZE = (12, 8)  # default of a panel: columns (of 24), rows
SIZES = {"stat": (4, 4), "logs": (24, 10)}
# Grafana draws a text for "no data" into every empty cell of these, and onto their axes.
WITHOUT_TEXT = ("table", "barchart")
PER_SECOND = "suffix:/s"  # a unit; the panel's title says of what
# The top of an axis while all values are lower, so that a line of zeros lies at its bottom.
SOFT_MAXIMUM = {"percentunit": 1.0, "s": 0.1, "Bps": 1024.0}
LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


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

    @property
    def datasource(self) -> Json:
        return PROMETHEUS if self.source == "prometheus" else LOKI

    def target(self, index: int) -> Json:
        """The target of a panel."""
        target: Json = {
            "refId": chr(ord("A") + index), "datasource": self.datasource,
            "expr": self.expr, "legendFormat": self.legend,
        }  # fmt: skip
        if self.source == "loki":
            kind = "instant" if self.instant else "range"
            return {**target, "queryType": kind, "maxLines": self.limit}
        return {
            **target, "instant": self.instant, "range": not self.instant,
            "exemplar": self.exemplars, "format": self.format,
        }  # fmt: skip


def by(labels: str, expr: str, legend: str = "", **how: Any) -> Query:
    """A query whose legend has the values of `labels` ("service, path"), then `legend`."""
    names = [f"{{{{{name}}}}}" for name in re.split(r",\s*", labels)]
    return Query(expr, " ".join([*names, legend] if legend else names), **how)


def cells(*expressions: str) -> list[Query]:
    """Queries of a table: the current values, one column each."""
    return [Query(expr, instant=True, format="table") for expr in expressions]


def steps(*bounds: tuple[float, str], base: str = GOOD) -> Json:
    """Thresholds: the colour `base` below the first bound, and a colour from each bound on."""
    colours = [{"color": colour, "value": value} for value, colour in bounds]
    return {"mode": "absolute", "steps": [{"color": base, "value": None}, *colours]}


ONE_IS_GOOD = steps((1, GOOD), base=BAD)


def number(title: str) -> int:
    """The ID of the panel with this title: its links stay right when others come or go."""
    return zlib.crc32(title.encode()) % 1_000_000 + 1


@dataclass
class Panel:
    """One panel; `size` is (columns of 24, rows), by default that of its row or kind.

    `warn` or `bad` is the value from which on that colour means something: one threshold, where
    `thresholds` gives them all.
    """

    title: str
    why: str
    queries: list[Query]
    kind: str = "timeseries"
    unit: str = "short"
    size: tuple[int, int] | None = None
    warn: float | None = None
    bad: float | None = None
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

    def _colour(self) -> Json:
        if self.colour:
            return {"mode": self.colour}
        # Thresholds colour a number. Lines keep their own colours, the threshold is a line itself.
        if self.kind == "stat" or (self.kind == "bargauge" and self.thresholds):
            return {"mode": "thresholds"}
        if self.kind in ("bargauge", "barchart"):
            return {"mode": "fixed", "fixedColor": BAR}
        return {"mode": "palette-classic"}

    def _thresholds(self) -> Json:
        for value, colour in ((self.warn, WARN), (self.bad, BAD)):
            if value is not None:
                return steps((value, colour))
        return self.thresholds or steps(base=PLAIN)

    def json(self, place: Json) -> Json:
        """The panel as JSON; `place` is its `gridPos`."""
        defaults: Json = {
            "unit": self.unit, "mappings": self.mappings, "custom": self.custom,
            "color": self._colour(), "thresholds": self._thresholds(),
            "noValue": None if self.kind in WITHOUT_TEXT else self.no_data,
            "decimals": self.decimals, "min": self.minimum, "max": self.maximum,
        }  # fmt: skip
        defaults = {key: value for key, value in defaults.items() if value is not None}
        sources = {query.source: query.datasource for query in self.queries}
        return {
            "id": number(self.title),
            "type": self.kind,
            "title": self.title,
            "description": self.why,
            "datasource": MIXED if len(sources) > 1 else next(iter(sources.values())),
            "gridPos": place,
            "fieldConfig": {"defaults": defaults, "overrides": self.overrides},
            "options": self.options,
            "targets": [query.target(index) for index, query in enumerate(self.queries)],
            "transformations": self.transformations,
            "links": self.links,
        }


def _now(queries: tuple[Query, ...]) -> list[Query]:
    """Asked for this moment: over a range, the last value of what is gone would still be shown."""
    return [replace(query, instant=True) for query in queries]


def stat(
    title: str, why: str, *queries: Query, fill: bool = False, text: str = "auto", **changes: Any
) -> Panel:
    """The current number of each series. Coloured only where a colour means something."""
    meaning = changes.keys() & {"warn", "bad", "thresholds", "mappings"}
    options = {
        "colorMode": "background_solid" if fill else "value" if meaning else "none",
        "graphMode": "none", "justifyMode": "center", "textMode": text, "reduceOptions": LAST,
    }  # fmt: skip
    return Panel(title, why, _now(queries), "stat", options=options, **changes)


def lines(
    title: str, why: str, *queries: Query, stacked: bool = False, signed: bool = False,
    values: bool = False, **changes: Any,
) -> Panel:  # fmt: skip
    """Lines over time, one colour each; `warn` or `bad` is a dashed line.

    `values`: the legend is a table at the right with last and highest values. The axis begins at 0,
    unless values are `signed`; while all values are lower, its top is a bit above the dashed line.
    """
    line = changes["bad"] if changes.get("bad") is not None else changes.get("warn")
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if line is None else "dashed"},
        "axisSoftMax": 1.2 * line if line else SOFT_MAXIMUM.get(changes.get("unit", ""), 1.0),
        **({"axisSoftMin": 0} if signed else {}),
        **changes.pop("custom", {}),
    }
    legend = {"displayMode": "list", "placement": "bottom", "calcs": []}
    if values:
        legend = {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    changes["minimum"] = None if signed else 0
    return Panel(title, why, list(queries), custom=custom, options=options, **changes)


def heatmap(title: str, why: str, buckets: str, **changes: Any) -> Panel:
    """A histogram of seconds over time; `buckets` selects its series."""
    options = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 32, "reverse": False},
        "yAxis": {"unit": "s", "axisPlacement": "left"},
        "cellGap": 1,
        "legend": {"show": True},
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": False},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
    }
    expr = f"sum by (le) (increase({buckets}[$__rate_interval]))"
    query = Query(expr, "{{le}}", format="heatmap")
    return Panel(title, why, [query], "heatmap", options=options, **changes)


def table(title: str, why: str, *queries: Query, **changes: Any) -> Panel:
    """The last values as a table."""
    options = {"showHeader": True, "cellHeight": "sm"}
    return Panel(title, why, list(queries), "table", options=options, **changes)


def bars(title: str, why: str, *queries: Query, **changes: Any) -> Panel:
    """A horizontal bar for each series, with its last value."""
    options = {
        "displayMode": "basic", "orientation": "horizontal", "valueMode": "text",
        "namePlacement": "auto", "showUnfilled": True, "sizing": "auto", "minVizHeight": 16,
        "text": {"titleSize": 13, "valueSize": 15}, "reduceOptions": LAST,
    }  # fmt: skip
    return Panel(title, why, _now(queries), "bargauge", options=options, minimum=0, **changes)


def organize(names: dict[str, str], hide: tuple[str, ...] = ("Time",)) -> Json:
    """Name and order the columns of a table; `hide` is hidden, other columns come last."""
    order = {name: place for place, name in enumerate(names)}
    hidden = dict.fromkeys(hide, True)
    options = {"excludeByName": hidden, "indexByName": order, "renameByName": names}
    return {"id": "organize", "options": options}


def sorted_by(column: str, *, descending: bool = False) -> Json:
    """Sort the rows of a table by a column."""
    sort = [{"field": column, "desc": descending}]
    return {"id": "sortBy", "options": {"fields": {}, "sort": sort}}


def column(name: str, **properties: Any) -> Json:
    """Properties of one column of a table: `unit`, `mappings`, `links`, `width`..."""
    own = {"width", "hidden", "cellOptions"}  # of tables alone
    found = {f"custom.{key}" if key in own else key: value for key, value in properties.items()}
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in found.items()],
    }


def text_by_steps(*bounds: tuple[float, str], base: str) -> Json:
    """Properties of a column whose values are coloured from these bounds on."""
    colour = {"mode": "thresholds"}
    return {
        "thresholds": steps(*bounds, base=base), "color": colour, "cellOptions": COLOURED_TEXT,
    }  # fmt: skip


def merged(
    title: str, why: str, keys: Mapping[str, str], columns: Mapping[str, tuple[str, Json]],
    hide: tuple[str, ...] = (), **changes: Any,
) -> Panel:  # fmt: skip
    """A table with a row for each set of labels: first its labels `keys`, then the values.

    `keys` maps labels to titles, `columns` titles to an expression and properties such as `unit`;
    `hide` are labels that tell rows apart and say nothing to a person.
    """
    names = {**keys, **{f"Value #{chr(65 + n)}": title for n, title in enumerate(columns)}}
    changes["transformations"] = [
        {"id": "merge", "options": {}},
        organize(names, hide=("Time", *hide)),
        *changes.get("transformations", []),
    ]
    changes["overrides"] = [
        *(column(title, **how) for title, (_, how) in columns.items() if how),
        *changes.get("overrides", []),
    ]
    return table(title, why, *cells(*(expr for expr, _ in columns.values())), **changes)


def coloured(series: str, colour: str, mode: str = "fixed") -> Json:
    """A colour (or `shades` of it) for a series, or for those that match a `/regular expression/`.

    Of several that match one series the last one counts.
    """
    how = "byRegexp" if series.startswith("/") else "byName"
    return {
        "matcher": {"id": how, "options": series},
        "properties": [{"id": "color", "value": {"mode": mode, "fixedColor": colour}}],
    }


# What a person reads of a line first: who, what, the request, and what went wrong. A line that is
# no JSON is shown as it is; a click shows all fields of any.
LINE = (
    " | json event, message, http_request_method, http_route, http_response_status_code, outcome,"
    " reason, code, dependency, task, error_type, exception_type, exception_message"
    " | drop __error__, __error_details__"
    " | line_format `{{ if .event }}{{ .service }}  {{ .event }}"
    "{{ if .http_route }}  {{ .http_request_method }} {{ .http_route }}"
    " {{ .http_response_status_code }}{{ end }}"
    + "".join(
        f"{{{{ if {shown} }}}}  {{{{ .{name} }}}}{{{{ end }}}}"
        for name, shown in (
            *((name, f".{name}") for name in ("dependency", "task", "outcome", "reason", "code")),
            # of a request it is the status again
            ("error_type", "and .error_type (ne .error_type .http_response_status_code)"),
            *((name, f".{name}") for name in ("exception_type", "exception_message", "message")),
        )
    )
    + "{{ else }}{{ .service }}  {{ __line__ }}{{ end }}`"
)  # fmt: skip


def logs(title: str, why: str, expr: str, limit: int = 200, **changes: Any) -> Panel:
    """Log lines, newest first, the main fields of each; a click shows all of them."""
    options = {
        "showTime": True, "showLabels": False, "showCommonLabels": False,
        "prettifyLogMessage": False, "wrapLogMessage": False, "enableLogDetails": True,
        "sortOrder": "Descending", "dedupStrategy": "none",
    }  # fmt: skip
    query = Query(expr + LINE, source="loki", limit=limit)
    return Panel(title, why, [query], "logs", options=options, **changes)


def timed(value: str, text: str, colour: str) -> Json:
    """Show a value as a word with a colour."""
    return {"type": "value", "options": {value: {"text": text, "color": colour}}}


UP = [timed("1", "up", GOOD), timed("0", "down", BAD)]
READY = [timed("1", "ready", GOOD), timed("0", "not ready", BAD)]
