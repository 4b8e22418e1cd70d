"""The dashboard of logs and traces: number of lines, errors, one request, slow requests."""

from dataclasses import replace

from .board import TRACE_LINK, Dashboard, Row, link, text_variable
from .config import Kit
from .overview import TROUBLE, newest, security
from .panels import (
    BAD,
    COLOURED_TEXT,
    WARN,
    Json,
    Panel,
    Query,
    cells,
    column,
    lines,
    logs,
    organize,
    sorted_by,
    table,
    timed,
)
from .promql import where

# Matches every line: Loki requires a matcher that cannot be empty, as a variable can.
ALL = where('log_type=~"general|error|security"')
LEVELS = [timed("warning", "warning", WARN), timed("error", "error", BAD)]
# makes table columns from the fields of a line, which Loki returns as labels
FROM_LABELS: Json = {
    "id": "extractFields",
    "options": {"source": "labels", "format": "json", "replace": True, "keepTime": True},
}


def _volume(by: str, why: str) -> Panel:
    expr = f"sum by ({by}) (count_over_time({ALL}[$__auto]))"
    return lines(
        f"Lines by {by}", why, Query(expr, f"{{{{{by}}}}}", source="loki"),
        stacked=True, no_data="no line in this time",
    )  # fmt: skip


def _how_many(kit: Kit) -> list[Panel]:
    days = ", ".join(f"{kind} {n}" for kind, n in kit.log_days.items())
    kept = f"; days that each kind is kept: {days}" if days else ""
    asked = "Log lines of each service. One that stopped writing while it is asked: LogsSilent."
    many = f"Log lines by level{kept}. Many warnings or errors: see which in the table above."
    return [_volume("service", asked), _volume("level", many)]


def _grouped(kit: Kit) -> Panel:
    expr = f"sum by (service, level, event) (count_over_time({TROUBLE} | json event [$__range]))"
    lines_of = (
        f"/d/{kit.uid('logs')}?var-search=${{__value.raw}}"
        "&${__url_time_range}&${environment:queryparam}&${service:queryparam}"
    )
    return table(
        "Warnings and errors, most frequent first",
        "Which warnings and errors there were in this time, the 20 most frequent. An event is "
        "a constant: a click shows its lines.",
        Query(f"topk(20, {expr})", source="loki", instant=True),
        transformations=[
            {"id": "labelsToFields", "options": {"mode": "columns"}},
            {"id": "merge", "options": {}},
            sorted_by("Value #A", descending=True),
            organize(
                {"event": "Event", "level": "Level", "service": "Service", "Value #A": "Lines"}
            ),
        ],
        overrides=[
            column("Event", links=[link("Its lines", lines_of)]),
            column("Level", mappings=LEVELS, cellOptions=COLOURED_TEXT, width=80),
            column("Service", width=85),
            column("Lines", width=65),
        ],
        size=(10, 9),
    )


def _lines() -> Panel:
    return logs(
        "Lines",
        "The newest 200 lines that have the text above: the ID of a request (header X-Request-ID "
        "of every reply) or of a trace shows all that happened, an endpoint or event its lines. A "
        "click shows all fields, and leads to the trace.",
        f"{ALL} |= `$search`", no_data="no line has this text in this time", size=(24, 10),
    )  # fmt: skip


def _slow(limit_s: float) -> Panel:
    request = "http_request_method, http_route, http_response_status_code, duration_s"
    kept = f"service, {request}".replace(", ", ",")
    query = (
        where('component="http"') + f" | json event, {request}"
        f' | event="http.request" | duration_s >= {limit_s} | keep {kept},trace_id'
    )
    return table(
        "Slow requests",
        f"The newest 100 requests that took {limit_s} s at least, each with its trace.",
        Query(query, source="loki", limit=100),
        transformations=[
            FROM_LABELS,
            sorted_by("Time", descending=True),
            organize(
                {
                    "Time": "Time", "service": "Service", "http_request_method": "Method",
                    "http_route": "Endpoint", "http_response_status_code": "Status",
                    "duration_s": "Duration", "trace_id": "Trace",
                },
                hide=(),
            ),
        ],
        overrides=[
            column("Time", unit="dateTimeAsIso", width=170),
            column("Service", width=90),
            column("Method", width=80),
            column("Status", width=70),
            column("Duration", unit="s", width=90),
            column("Trace", links=[TRACE_LINK], width=310),
        ],
        size=(24, 10),
    )  # fmt: skip


def _graph() -> Panel:
    calls = "rate(traces_service_graph_request_total[$__rate_interval])"

    def named(label: str, source: str, expr: str) -> str:
        return f'label_replace({expr}, "{label}", "$1", "{source}", "(.*)")'

    def node(end: str) -> str:
        return named("title", end, named("id", end, calls))

    edges = named("target", "server", named("source", "client", calls))
    return Panel(
        "Service graph",
        "Who calls whom, and how often a second: services, databases, and messages between "
        "services, counted from all traces before any is left out.",
        cells(
            f"sum by (id, title) ({node('server')}) or sum by (id, title) ({node('client')})",
            "sum by (id, source, target)"
            f' (label_join({edges}, "id", " to ", "client", "server"))',
        ),
        "nodeGraph", unit="reqps",
        options={"nodes": {"mainStatUnit": "reqps"}, "edges": {"mainStatUnit": "reqps"}},
        transformations=[organize({"Value #A": "mainstat", "Value #B": "mainstat"})],
        no_data="no trace in this time", size=(24, 12),
    )  # fmt: skip


def logs_and_traces(kit: Kit) -> Dashboard:
    """The dashboard, from counts of lines down to a single request."""
    return Dashboard(
        kit,
        "logs",
        title="Logs and traces",
        why="What the services say: what went wrong, one request from end to end, how much.",
        variables=[text_variable("search", "Request ID, trace ID or text")],
        first=[_grouped(kit), replace(newest(kit), size=(14, 9)), _lines()],
        rows=[
            Row("Security", [security()]),
            Row("Slow requests", [_slow(kit.thresholds.latency_s / 2)]),
            Row("How many lines", _how_many(kit)),
            *([Row("Who calls whom", [_graph()])] if "collector" in kit.parts else []),
        ],
    )
