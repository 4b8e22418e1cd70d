"""The dashboard of logs and traces: number of lines, errors, one request, slow requests."""

from __future__ import annotations

from .board import TRACE_LINK, Dashboard, Row, text_variable
from .config import Kit
from .panels import Json, Panel, Query, cells, column, lines, logs, organize, table
from .promql import where

# Matches every line: Loki requires a matcher that cannot be empty, as a variable can.
ALL = where('log_type=~"general|error|security"')
TROUBLE = where('level=~"warning|error|critical"')
# makes table columns from the fields of a line, which Loki returns as labels
FROM_LABELS: Json = {
    "id": "extractFields",
    "options": {"source": "labels", "format": "json", "replace": True, "keepTime": True},
}


def _volume(by: str, why: str) -> Panel:
    return lines(
        f"Lines by {by.replace('log_type', 'kind')}",
        why,
        Query(f"sum by ({by}) (count_over_time({ALL}[$__auto]))", f"{{{{{by}}}}}", source="loki"),
        stacked=True,
        no_data="no line in this time",
    )


def _how_many(kit: Kit) -> list[Panel]:
    return [
        _volume(
            "service",
            "Log lines of each service. One that stopped writing while it is asked: LogsSilent.",
        ),
        _volume(
            "level",
            "Log lines by level. Many warnings or errors: see which in the table below.",
        ),
        _volume(
            "log_type",
            f"Log lines by kind; days that each is kept: {kit.kept('{kind} {days}')}.",
        ),
    ]


def _errors() -> list[Panel]:
    return [
        table(
            "Warnings and errors, grouped",
            "Which warnings and errors there were in this time, the 20 most frequent. An event is "
            "a constant: search for it to see its lines.",
            Query(
                f"topk(20, sum by (service, level, event) (count_over_time({TROUBLE} | json event"
                " [$__range])))",
                source="loki",
                instant=True,
            ),
            transformations=[
                {"id": "labelsToFields", "options": {"mode": "columns"}},
                {"id": "merge", "options": {}},
                organize(
                    {"event": "Event", "level": "Level", "service": "Service", "Value #A": "Lines"}
                ),
            ],
            no_data="no warning and no error in this time",
            size=(10, 10),
        ),
        logs(
            "Newest warnings and errors",
            "The newest 100 lines. Open one: its trace is one click away.",
            TROUBLE,
            limit=100,
            no_data="no warning and no error in this time",
            size=(14, 10),
        ),
    ]


def _one() -> list[Panel]:
    return [
        logs(
            "Lines of one request",
            "Everything that all services said of the request whose ID (header X-Request-ID of "
            "every reply) or trace ID stands above.",
            f"{ALL} | request_id=`$request_id` or trace_id=`$request_id`",
            no_data="paste a request ID above",
        )
    ]


def _slow() -> list[Panel]:
    fields = "service,http_request_method,http_route,http_response_status_code,duration_s"
    return [
        table(
            "Slow requests",
            "The newest 100 requests that took at least as long as the limit above, each with its "
            "trace.",
            Query(
                where('component="http"') + " | json event, http_request_method, http_route,"
                " http_response_status_code, duration_s"
                ' | event="http.request" | duration_s >= $slower_than'
                f" | keep {fields},trace_id",
                source="loki",
                limit=100,
            ),
            transformations=[
                FROM_LABELS,
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
                column("Time", unit="dateTimeAsIso", custom__width=170),
                column("Duration", unit="s"),
                column("Trace", links=[TRACE_LINK]),
            ],
            no_data="no request was that slow",
            size=(24, 10),
        )
    ]  # fmt: skip


def _graph() -> list[Panel]:
    calls = "rate(traces_service_graph_request_total[$__rate_interval])"

    def named(label: str, source: str, expr: str) -> str:
        return f'label_replace({expr}, "{label}", "$1", "{source}", "(.*)")'

    def node(end: str) -> str:
        return named("title", end, named("id", end, calls))

    edges = named("target", "server", named("source", "client", calls))
    return [
        Panel(
            "Service graph",
            "Who calls whom, and how often a second: services, databases, and messages between "
            "services, counted from all traces before any is left out.",
            cells(
                f"sum by (id, title) ({node('server')}) or sum by (id, title) ({node('client')})",
                "sum by (id, source, target)"
                f' (label_join({edges}, "id", " to ", "client", "server"))',
            ),
            "nodeGraph",
            unit="reqps",
            options={"nodes": {"mainStatUnit": "reqps"}, "edges": {"mainStatUnit": "reqps"}},
            transformations=[organize({"Value #A": "mainstat", "Value #B": "mainstat"})],
            no_data="no trace in this time",
            size=(24, 12),
        )
    ]


def logs_and_traces(kit: Kit) -> Dashboard:
    """The dashboard, from counts of lines down to a single request."""
    return Dashboard(
        kit,
        "logs",
        title="Logs and traces",
        why="What the services say: how much, what went wrong, one request from end to end.",
        variables=[
            text_variable("request_id", "Request or trace ID", "none"),
            text_variable("slower_than", "Slow: at least, seconds", "0.25"),
        ],
        rows=[
            Row("One request", _one()),
            Row("What goes wrong", _errors()),
            Row("How many lines", _how_many(kit), (8, 8)),
            Row("Slow requests", _slow()),
            *([Row("Who calls whom", _graph())] if "collector" in kit.parts else []),
        ],
    )
