"""Dashboards as files: what Grafana's file provider reads, and what a person can read."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.alerts import ALERTS
from monitoring.dashboards import boards
from monitoring.settings import CATALOGUES, KIT
from plainview import LIBRARY_METRICS, Alert
from plainview.kit.names import declared, metrics_in
from plainview.kit.panels import SERVICE_COLOURS, WIDTH
from plainview.kit.recording import groups
from tests.stack.expected import EXPECTED
from tests.stack.panels import of_the_business

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
PROVISIONING = ROOT / "grafana" / "provisioning"
KEYS = {
    "uid", "title", "description", "tags", "schemaVersion", "version", "editable", "graphTooltip",
    "refresh", "time", "timezone", "templating", "links", "annotations", "panels",
}  # fmt: skip
KINDS = {
    "row", "stat", "timeseries", "bargauge", "barchart", "heatmap", "table", "logs", "nodeGraph",
    "state-timeline", "text",
}  # fmt: skip
# Labels with as many values as there are events, rewards or paths; a table shows them page by page.
OPEN = ("event_id", "reward_id", "http_route", "path", "instance", "span_name", "error_type")
BUILT_IN = {
    "__all",
    "__rate_interval",
    "__interval",
    "__range",
    "__auto",
    "__value",
    "__data",
    "__url",
    "__url_time_range",
}
# The most rows of 38 px that are seen at 1,440 x 900 below Grafana's bars and the variables.
SCREEN = 20
IDS = re.compile(r"\b(event_id|reward_id|user_id|request_id|trace_id)\b")
BUSINESS = declared(CATALOGUES) - declared([LIBRARY_METRICS])


def read(file: Path) -> Json:
    board: Json = json.loads(file.read_text())
    return board


def shown(board: Json) -> list[Json]:
    """Panels that show something, those in closed rows too."""
    panels = [each for row in board["panels"] for each in [row, *row.get("panels", [])]]
    return [panel for panel in panels if panel["type"] != "row"]


def rows(board: Json) -> list[Json]:
    """The rows below the first screen."""
    return [panel for panel in board["panels"] if panel["type"] == "row"]


def texts(value: Any) -> Iterator[str]:
    """Every string below a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


def model(board: Json) -> Iterator[str]:
    """The classic model, as schemaVersion 41 has it."""
    if set(board) != KEYS:
        yield f"keys {sorted(set(board) ^ KEYS)}"
    if not 39 <= board["schemaVersion"] <= 42:
        yield "schemaVersion"
    if board["tags"] != [KIT.tag] or board["editable"]:
        yield "tags, or editable"
    if not re.fullmatch(r"\d+[sm]", board["refresh"]) or board["refresh"] in ("1s", "2s"):
        yield "refreshed faster than Grafana allows: 5s"
    if unknown := {panel["type"] for panel in board["panels"]} - KINDS:
        yield f"kinds {unknown}"


def places(board: Json) -> Iterator[str]:
    """Numbers are unique, panels lie beside each other."""
    numbers = [panel["id"] for panel in [*rows(board), *shown(board)]]
    if len(set(numbers)) != len(numbers):
        yield "ids"
    titles = [panel["title"] for panel in shown(board)]
    if len(set(titles)) != len(titles):
        yield "titles"  # alerts find their panel by it
    for together in [board["panels"], *(row["panels"] for row in rows(board))]:
        for panel in together:
            at = panel["gridPos"]
            if at["x"] < 0 or at["x"] + at["w"] > WIDTH or min(at["w"], at["h"]) < 1:
                yield f"{panel['title']} does not fit"
        for one, other in combinations(together, 2):
            a, b = one["gridPos"], other["gridPos"]
            if (
                a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
                and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
            ):  # fmt: skip
                yield f"{one['title']} covers {other['title']}"


def first_screen(board: Json) -> Iterator[str]:
    """What is open fits into 900 px under Grafana's own bars; rows below are folded."""
    opened = [panel for panel in board["panels"] if panel["type"] != "row"]
    if max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in opened) > SCREEN:
        yield "one has to scroll"
    if len(opened) > 12:
        yield f"{len(opened)} panels at once"
    for row in rows(board):
        if not row["collapsed"] or row["gridPos"]["y"] < SCREEN - 1:
            yield f"{row['title']}: open, or in between"


def colours(board: Json) -> Iterator[str]:
    """Series have colours of their own: thresholds are lines; a service has one everywhere."""
    for panel in shown(board):
        config, defaults = panel["fieldConfig"], panel["fieldConfig"]["defaults"]
        if panel["type"] in ("timeseries", "barchart"):
            if defaults["color"]["mode"] == "thresholds":
                yield f"{panel['title']}: all series in the colour of a threshold"
            style = defaults["custom"].get("thresholdsStyle", {}).get("mode")
            if panel["type"] == "timeseries" and (
                (style == "off") == (len(defaults["thresholds"]["steps"]) > 1)
            ):
                yield f"{panel['title']}: its thresholds are not lines"
        fixed = {
            rule["matcher"]["options"]: rule["properties"][0]["value"]["fixedColor"]
            for rule in config["overrides"]
            if rule["properties"][0]["id"] == "color"
            and "fixedColor" in rule["properties"][0]["value"]
        }
        by_service = [
            target["legendFormat"]
            for target in panel["targets"]
            if target.get("legendFormat", "").startswith("{{service}}")
        ]
        if panel["type"] == "timeseries" and by_service:
            for service, colour in zip(KIT.services, SERVICE_COLOURS, strict=False):
                names = [service] if "{{service}}" in by_service else []
                names += [f"/^{service}[ :]/"] if set(by_service) - {"{{service}}"} else []
                if [fixed.get(name) for name in names] != [colour] * len(names):
                    yield f"{panel['title']}: the colour of {service}"
        if panel["type"] == "stat":
            means = panel["options"]["colorMode"] != "none"
            if means != (len(defaults["thresholds"]["steps"]) > 1):
                yield f"{panel['title']}: a colour that means nothing, or none that means something"
            if panel["options"]["graphMode"] != "none":
                yield f"{panel['title']}: a line behind the words"


def scales(board: Json) -> Iterator[str]:
    """Zeros lie at the bottom of their axis; one axis; no unit that nobody knows."""
    for panel in shown(board):
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "timeseries" and not defaults["custom"].get("axisSoftMax"):
            yield f"{panel['title']}: a line of zeros may fill the panel"
        if defaults["unit"] in ("cps", "h"):
            yield f"{panel['title']}: unit {defaults['unit']}"
        if panel["type"] == "timeseries" and any(
            each["id"] == "unit"
            for rule in panel["fieldConfig"]["overrides"]
            for each in rule["properties"]
        ):
            yield f"{panel['title']}: two axes"
        if panel["type"] == "heatmap" and any(each["exemplar"] for each in panel["targets"]):
            yield f"{panel['title']}: dots over the colours"


def order(board: Json) -> Iterator[str]:
    """The newest line first, and in a table what matters most: it says by what it is sorted."""
    for panel in shown(board):
        if panel["type"] == "logs" and panel["options"]["sortOrder"] != "Descending":
            yield f"{panel['title']}: the oldest first"
        if panel["type"] != "table":
            continue
        sorted_by = [
            each["options"]["sort"][0]
            for each in panel["transformations"]
            if each["id"] == "sortBy"
        ]
        renamed = [
            name
            for each in panel["transformations"]
            for name in each["options"].get("renameByName", {}).values()
        ]
        if not sorted_by:
            yield f"{panel['title']}: in any order"
        if "Time" in renamed and sorted_by != [{"field": "Time", "desc": True}]:
            yield f"{panel['title']}: not the newest first"


def legends(board: Json) -> Iterator[str]:
    """Names, never IDs, and a legend leaves the panel to its lines."""
    for panel in shown(board):
        for target in panel["targets"]:
            if IDS.search(target.get("legendFormat", "")):
                yield f"{panel['title']}: {target['legendFormat']}"
        legend = panel["options"].get("legend", {})
        if legend.get("displayMode") == "table" and legend["placement"] == "bottom":
            yield f"{panel['title']}: the legend takes half of it"
        for each in panel["transformations"]:
            names = each["options"].get("renameByName", {})
            excluded = each["options"].get("excludeByName", {})
            if shown_ids := set(filter(IDS.search, names)) - {"trace_id"} - set(excluded):
                yield f"{panel['title']}: {shown_ids}"
    for variable in board["templating"]["list"]:
        if IDS.search(variable.get("definition", "")) and "<text>" not in variable["regex"]:
            yield f"${variable['name']} shows IDs"


def log_lines(board: Json) -> Iterator[str]:
    """Of a log line the few fields that matter; of security lines not every success."""
    for panel in shown(board):
        if panel["type"] == "logs":
            if "| line_format" not in panel["targets"][0]["expr"]:
                yield f"{panel['title']}: raw JSON"
            expr = panel["targets"][0]["expr"]
            if "$search" not in expr and "level=" not in expr:
                yield f"{panel['title']}: not by level"
            if "level=" in expr and "log_type" not in expr:
                yield f"{panel['title']}: wrong passwords hide the rest"


def times(board: Json) -> Iterator[str]:
    """Other dashboards open with their own time."""
    (others,) = [link for link in board["links"] if link["type"] == "dashboards"]
    if others["keepTime"]:
        yield "15 minutes are carried into what is meant for a day"


def of_all_services(board: Json) -> Iterator[str]:
    """What one service tells of the business does not vanish when another is chosen."""
    for panel in shown(board):
        for target in panel["targets"]:
            expr = target["expr"]
            if "service=~" in expr and metrics_in(expr) & BUSINESS:
                yield f"{panel['title']}: empty for the other services"


def marks(board: Json) -> Iterator[str]:
    """New versions, starts and critical alerts are marked on the graphs."""
    found = {each["name"] for each in board["annotations"]["list"] if each["enable"]}
    if found != {"New versions", "Starts", "Critical alerts"}:
        yield f"marks {found}"


def words(board: Json) -> Iterator[str]:
    """Each panel says what it is, in which unit, and what it means when it is empty."""
    for panel in shown(board):
        defaults = panel["fieldConfig"]["defaults"]
        if not panel["title"] or len(panel["description"]) < 20:
            yield f"{panel['title']}: description"
        # a table draws the text into empty cells, a bar chart onto its axis
        if ("noValue" in defaults) == (panel["type"] in ("table", "barchart")):
            yield f"{panel['title']}: text for no data"
        if not defaults.get("unit"):
            yield f"{panel['title']}: unit"
        if panel["type"] == "table" and panel["gridPos"]["w"] < 8:
            yield f"{panel['title']}: too narrow for a table"


def sources(board: Json) -> Iterator[str]:
    """Data sources are variables of the board, first set to those that are provisioned."""
    provisioned = yaml.safe_load((PROVISIONING / "datasources/datasources.yaml").read_text())
    known = {source["uid"]: source["type"] for source in provisioned["datasources"]}
    for variable in board["templating"]["list"]:
        if variable["type"] == "datasource" and (
            known.get(variable["current"]["value"]) != variable["query"]
        ):
            yield f"${variable['name']}"
    asked = [("", variable.get("datasource")) for variable in board["templating"]["list"]]
    for panel in shown(board):
        if len({target["datasource"]["uid"] for target in panel["targets"]}) == 1:
            asked += [(panel["title"], panel["datasource"])]
        elif panel["datasource"]["uid"] != "-- Mixed --":
            yield f"{panel['title']}: asks several"
        asked += [(panel["title"], target["datasource"]) for target in panel["targets"]]
    for title, source in asked:
        if source and source["uid"] != f"${{{source['type']}}}":
            yield f"{title}: data source {source}"


def shapes(board: Json) -> Iterator[str]:
    """What a kind of panel can draw: a table asks for one, a heatmap for buckets."""
    formats = {"table": "table", "barchart": "table", "heatmap": "heatmap", "nodeGraph": "table"}
    for panel in shown(board):
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                if target["format"] != formats.get(panel["type"], "time_series"):
                    yield f"{panel['title']}: {target['format']}"
                if target["format"] == "table" and not target["instant"]:
                    yield f"{panel['title']}: a table of all times"


def variables(board: Json) -> Iterator[str]:
    """No query names a variable that is not there."""
    declared = {variable["name"] for variable in board["templating"]["list"]} | BUILT_IN
    for text in texts(board):
        for name in re.findall(r"\$\{?([A-Za-z_]\w*)", re.sub(r'"0?\$1"', "", text)):
            if name not in declared:
                yield f"${name} in {text[:60]}"


def bounds(board: Json) -> Iterator[str]:
    """No query can grow with what is stored: lines have a limit, open sets their `topk`."""
    for panel in shown(board):
        for target in panel["targets"]:
            if target["datasource"]["type"] == "loki":
                if not 0 < target["maxLines"] <= 500:
                    yield f"{panel['title']}: lines without a limit"
                for selector in re.findall(r"\{([^}]*)\}", target["expr"])[:1]:
                    if not re.search(r'=~?"(?!\$|\.\*"|\.\+")[^"]', selector):
                        yield f"{panel['title']}: selects everything"
            elif target["datasource"]["type"] == "prometheus" and panel["type"] != "table":
                for by in re.findall(r"\bby \(([^)]*)\)", target["expr"]):
                    grows = set(OPEN) & set(re.split(r",\s*", by))
                    if grows and not re.search(r"\b(topk|bottomk|sum) ?\(", target["expr"]):
                        yield f"{panel['title']}: all of {grows}"


def targets_of_links(board: Json) -> Iterator[str]:
    """What links lead to is there: dashboards, pages of the handbook."""
    uids = {read(file)["uid"] for file in FILES}
    for text in texts(board):
        for uid in re.findall(r"/d/([\w-]+)", text):
            if uid not in uids:
                yield f"no dashboard {uid}"
        for page in re.findall(rf"{KIT.handbook}/([\w./-]+)", text):
            if not (ROOT / "docs" / page).exists():
                yield f"no page {page}"


CHECKS = [
    model, places, first_screen, words, colours, scales, order, legends, log_lines, times,
    of_all_services, marks, sources, shapes, variables, bounds, targets_of_links,
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_dashboard(file: Path, check: Callable[[Json], Iterator[str]]) -> None:
    assert list(check(read(file))) == []


def test_files_are_those_that_are_built_each_with_its_own_uid() -> None:
    assert {file.stem for file in FILES} == set(boards())
    assert {file.stem: read(file)["uid"] for file in FILES} == {
        name: f"er-{name}" for name in boards()
    }
    assert len({read(file)["title"] for file in FILES}) == len(FILES)


def test_every_panel_of_the_business_is_compared_with_the_books() -> None:
    shown, known = set(of_the_business()), set(EXPECTED)
    assert shown == known, f"tests/stack/expected.py: {shown ^ known}"


def test_the_provider_reads_this_folder() -> None:
    (file,) = (PROVISIONING / "dashboards").glob("*.yaml")
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    assert (provider["type"], provider["folder"]) == ("file", "Event Rewards")
    # ops.setup copies the folder `grafana` there
    assert provider["options"]["path"] == "/configuration/grafana/dashboards"
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert "configuration:/configuration:ro" in compose["services"]["grafana"]["volumes"]


def _spoil(change: Callable[[Json], Any]) -> Json:
    board = copy.deepcopy(read(next(file for file in FILES if file.stem == "overview")))
    change(board)
    return board


def _first(board: Json, kind: str) -> Json:
    return next(panel for panel in shown(board) if panel["type"] == kind)


def _defaults(board: Json, kind: str) -> Json:
    defaults: Json = _first(board, kind)["fieldConfig"]["defaults"]
    return defaults


def _table(board: Json, title: str) -> Json:
    return next(panel for panel in shown(board) if panel["title"] == title)


SPOILT: dict[str, tuple[Any, Callable[[Json], Any]]] = {
    "exported for sharing": (model, lambda board: board.update(__inputs=[])),
    "own id": (model, lambda board: board.update(id=7)),
    "too fast": (model, lambda board: board.update(refresh="1s")),
    "same id": (places, lambda board: board["panels"][2].update(id=board["panels"][1]["id"])),
    "too tall": (first_screen, lambda board: board["panels"][0]["gridPos"].update(h=30)),
    "an open row": (first_screen, lambda board: rows(board)[0].update(collapsed=False)),
    "text in cells": (words, lambda board: _defaults(board, "table").update(noValue="none")),
    "colour of a threshold": (
        colours,
        lambda board: _defaults(board, "timeseries")["color"].update(mode="thresholds"),
    ),
    "another blue": (
        colours,
        lambda board: _first(board, "timeseries")["fieldConfig"].update(overrides=[]),
    ),
    "a sparkline": (
        colours,
        lambda board: _first(board, "stat")["options"].update(graphMode="area"),
    ),
    "a colour for nothing": (
        colours,
        lambda board: _defaults(board, "stat").update(thresholds={"steps": [{}]}),
    ),
    "zeros fill it": (
        scales,
        lambda board: _defaults(board, "timeseries")["custom"].pop("axisSoftMax"),
    ),
    "c/s": (scales, lambda board: _defaults(board, "timeseries").update(unit="cps")),
    "any order": (order, lambda board: _first(board, "table").update(transformations=[])),
    "oldest first": (
        order,
        lambda board: [
            each["options"]["sort"][0].update(desc=False)
            for each in _table(board, "Last reward requests")["transformations"]
            if each["id"] == "sortBy"
        ],
    ),
    "IDs in a legend": (
        legends,
        lambda board: _first(board, "timeseries")["targets"][0].update(legendFormat="{{event_id}}"),
    ),
    "a table of a legend": (
        legends,
        lambda board: _first(board, "timeseries")["options"]["legend"].update(displayMode="table"),
    ),
    "raw JSON": (
        log_lines,
        lambda board: _first(board, "logs")["targets"][0].update(expr='{a="b"}'),
    ),
    "security among errors": (
        log_lines,
        lambda board: _first(board, "logs")["targets"][0].update(
            expr='{level="error"} | line_format "x"'
        ),
    ),
    "time is kept": (times, lambda board: board["links"][0].update(keepTime=True)),
    "of one service": (
        of_all_services,
        lambda board: _first(board, "stat")["targets"][0].update(
            expr='max(events_active{service=~"$service"})'
        ),
    ),
    "no marks": (marks, lambda board: board["annotations"].update(list=[])),
    "overlap": (places, lambda board: board["panels"][1]["gridPos"].update(x=0)),
    "no description": (words, lambda board: _first(board, "stat").update(description="")),
    "fixed source": (
        sources,
        lambda board: _first(board, "stat")["datasource"].update(uid="prometheus"),
    ),
    "series in a table": (
        shapes,
        lambda board: _first(board, "table")["targets"][0].update(format="time_series"),
    ),
    "unknown variable": (
        variables,
        lambda board: _first(board, "stat")["targets"][0].update(expr='up{a="$pod"}'),
    ),
    "all logs": (
        bounds,
        lambda board: _first(board, "logs")["targets"][0].update(expr='{service=~"$service"}'),
    ),
    "no limit": (bounds, lambda board: _first(board, "logs")["targets"][0].update(maxLines=0)),
    "open set": (
        bounds,
        lambda board: _first(board, "timeseries")["targets"][0].update(
            expr="max by (event_id) (event_participants)"
        ),
    ),
    "no such board": (
        targets_of_links,
        lambda board: board["links"][1].update(url="/d/er-nowhere"),
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_each_check_can_fail(name: str) -> None:
    check, change = SPOILT[name]
    assert list(check(_spoil(change))) != []


# What an alert reads and its panel does not: a floor below which a ratio says nothing, or another
# way to fail that the panel beside it shows.
BESIDE = {
    "ApiLatencyP95": {"http_requests_total"},
    "MongoFailures": {"db_client_operation_duration_seconds_count"},
    "MongoSlow": {"db_client_connections", "db_client_connections_max"},
    "TelemetryDrops": {
        "telemetry_span_queue_depth", "otelcol_exporter_queue_size",
        "otelcol_exporter_queue_capacity",
    },
    "LogsSilent": {"up"},
    "SeriesExplosion": {"prometheus_target_scrapes_exceeded_sample_limit_total"},
    "RedisDown": {
        "db_client_operation_duration_seconds_count", "db_client_operation_failures_total",
        "db_client_connection_failures_total",
    },
    "ClaimBacklog": {"reward_requests_pending"},
}  # fmt: skip


def counted(names: set[str]) -> set[str]:
    """The metrics that these are made of, recorded ones resolved."""
    made = [(rule["record"], rule["expr"]) for group in groups(KIT) for rule in group["rules"]]
    recorded = {record for record, _ in made}
    while names & recorded:
        reads = [metrics_in(expr) for record, expr in made if record in names]
        names = (names - recorded).union(*reads)
    return names


@pytest.mark.parametrize("alert", [alert for alert in ALERTS if alert.panel], ids=lambda a: a.name)
def test_an_alert_leads_to_the_panel_that_shows_the_fault(alert: Alert) -> None:
    (panel,) = [
        panel for panel in boards()[alert.dashboards[0]].panels() if panel.title == alert.panel
    ]
    shown = set().union(
        *(metrics_in(query.expr) for query in panel.queries if query.source == "prometheus")
    )
    assert counted(metrics_in(alert.expr)) - counted(shown) == BESIDE.get(alert.name, set())


def test_the_budget_of_series_is_that_of_prometheus() -> None:
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    limits = {job["sample_limit"] for job in config["scrape_configs"] if "sample_limit" in job}
    assert limits == {KIT.thresholds.sample_limit}
