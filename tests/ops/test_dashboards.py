"""Dashboards as files: what a person can read, and queries that are bounded and lead somewhere.

tests/stack/test_grafana_types.py reads them with Grafana's own types.
"""

import copy
import re
from collections.abc import Callable, Iterator
from itertools import combinations
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
from tests.stack.panels import dashboards, of_the_business
from tests.stack.programs import ROOT

Json = dict[str, Any]
FILES = dashboards()
PROVISIONING = ROOT / "grafana" / "provisioning"
# Labels with as many values as there are events, rewards or paths; a table shows them page by page.
OPEN = ("event_id", "reward_id", "http_route", "path", "instance", "span_name", "error_type")
BUILT_IN = {
    "__all", "__rate_interval", "__interval", "__range", "__auto", "__value", "__data", "__url",
    "__url_time_range",
}  # fmt: skip
# The most rows of 38 px that are seen at 1,440 x 900 below Grafana's bars and the variables.
SCREEN = 20
IDS = re.compile(r"\b(event_id|reward_id|user_id|request_id|trace_id)\b")
BUSINESS = declared(CATALOGUES) - declared([LIBRARY_METRICS])


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


def options(panel: Json, kind: str) -> Iterator[Json]:
    """The options of a panel's transformations of this kind."""
    return (each["options"] for each in panel["transformations"] if each["id"] == kind)


def model(board: Json) -> Iterator[str]:
    """What a board has besides its panels."""
    if not re.fullmatch(r"([5-9]|\d\d+)s|\d+m", board["refresh"]):
        yield "refreshed faster than Grafana allows: 5s"
    if board["tags"] != [KIT.tag] or board["editable"]:
        yield "tags, or editable"
    marks = {each["name"] for each in board["annotations"]["list"] if each["enable"]}
    if marks != {"New versions", "Starts", "Critical alerts"}:
        yield f"marks {marks}"
    if [link["keepTime"] for link in board["links"] if link["type"] == "dashboards"] != [False]:
        yield "15 minutes are carried into what is meant for a day"


def sources(board: Json) -> Iterator[str]:
    """Data sources are variables of the board, so that it can be imported anywhere."""
    asked = [*board["templating"]["list"], *board["annotations"]["list"]]
    for panel in shown(board):
        uids = {target["datasource"]["uid"] for target in panel["targets"]}
        if {panel["datasource"]["uid"]} != (uids if len(uids) == 1 else {"-- Mixed --"}):
            yield f"{panel['title']}: {panel['datasource']}"
        asked += panel["targets"]
    for source in (each["datasource"] for each in asked if each.get("datasource")):
        if source["uid"] != f"${{{source['type']}}}":
            yield f"data source {source}"


def places(board: Json) -> Iterator[str]:
    """Numbers are unique, panels lie beside each other."""
    panels = shown(board)
    if len({panel["id"] for panel in [*rows(board), *panels]}) != len([*rows(board), *panels]):
        yield "ids"
    if len({panel["title"] for panel in panels}) != len(panels):
        yield "titles"  # alerts find their panel by it
    for together in [board["panels"], *(row["panels"] for row in rows(board))]:
        for panel in together:
            at = panel["gridPos"]
            if at["x"] + at["w"] > WIDTH or min(at["w"], at["h"]) < 1:
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


def words(board: Json) -> Iterator[str]:
    """Each panel says what it is for, in a unit that people know, with room for it."""
    for panel in shown(board):
        if len(panel["description"]) < 20:
            yield f"{panel['title']}: description"
        if panel["fieldConfig"]["defaults"]["unit"] in ("", "cps", "h"):
            yield f"{panel['title']}: unit"
        if panel["type"] == "table" and panel["gridPos"]["w"] < 8:
            yield f"{panel['title']}: too narrow for a table"


def colours(board: Json) -> Iterator[str]:
    """A service has one colour everywhere."""
    for panel in shown(board):
        fixed = {
            rule["matcher"]["options"]: rule["properties"][0]["value"]["fixedColor"]
            for rule in panel["fieldConfig"]["overrides"]
            if rule["properties"][0]["id"] == "color"
            and "fixedColor" in rule["properties"][0]["value"]
        }
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        named = {each for each in legends if each.startswith("{{service}}")}
        if panel["type"] == "timeseries" and named:
            for service, colour in zip(KIT.services, SERVICE_COLOURS, strict=False):
                names = [service] if "{{service}}" in named else []
                names += [f"/^{service}[ :]/"] if named - {"{{service}}"} else []
                if [fixed.get(name) for name in names] != [colour] * len(names):
                    yield f"{panel['title']}: the colour of {service}"


def drawn(board: Json) -> Iterator[str]:
    """Zeros lie at the bottom, thresholds are lines, a colour or a text means something."""
    for panel in shown(board):
        kind, defaults = panel["type"], panel["fieldConfig"]["defaults"]
        limits = len(defaults["thresholds"]["steps"]) > 1
        if ("noValue" in defaults) == (kind in ("table", "barchart")):
            yield f"{panel['title']}: no text for no data, or one in every cell"
        if kind == "timeseries":
            custom, legend = defaults["custom"], panel["options"]["legend"]
            if defaults["color"]["mode"] == "thresholds":
                yield f"{panel['title']}: all series in the colour of a threshold"
            if (custom["thresholdsStyle"]["mode"] == "off") == limits:
                yield f"{panel['title']}: its thresholds are not lines"
            if not custom.get("axisSoftMax"):
                yield f"{panel['title']}: a line of zeros may fill the panel"
            if (legend["displayMode"], legend["placement"]) == ("table", "bottom"):
                yield f"{panel['title']}: the legend takes half of it"
        if kind == "stat" and (panel["options"]["colorMode"] != "none") != limits:
            yield f"{panel['title']}: a colour that means nothing, or none that means something"


def order(board: Json) -> Iterator[str]:
    """A table says by what it is sorted: what matters most comes first, or the newest."""
    for panel in shown(board):
        if panel["type"] == "logs" and panel["options"]["sortOrder"] != "Descending":
            yield f"{panel['title']}: the oldest first"
        if panel["type"] != "table":
            continue
        by = [each["sort"][0] for each in options(panel, "sortBy")]
        renamed = [n for each in options(panel, "organize") for n in each["renameByName"].values()]
        if not by:
            yield f"{panel['title']}: in any order"
        if "Time" in renamed and by != [{"field": "Time", "desc": True}]:
            yield f"{panel['title']}: not the newest first"


def legends(board: Json) -> Iterator[str]:
    """Names, never IDs."""
    for panel in shown(board):
        for target in panel["targets"]:
            if IDS.search(target.get("legendFormat", "")):
                yield f"{panel['title']}: {target['legendFormat']}"
        for each in options(panel, "organize"):
            ids = set(filter(IDS.search, each["renameByName"])) - {"trace_id"}
            if ids - set(each["excludeByName"]):
                yield f"{panel['title']}: {ids}"
    for variable in board["templating"]["list"]:
        if IDS.search(variable.get("definition", "")) and "<text>" not in variable["regex"]:
            yield f"${variable['name']} shows IDs"


def log_lines(board: Json) -> Iterator[str]:
    """Of log lines those that were looked for, or the bad ones; wrong passwords apart."""
    for panel in shown(board):
        expr = panel["targets"][0]["expr"]
        if panel["type"] == "logs" and "| line_format" not in expr:
            yield f"{panel['title']}: raw JSON"
        if panel["type"] == "logs" and "$search" not in expr and "level=" not in expr:
            yield f"{panel['title']}: not by level"
        if panel["type"] == "logs" and "level=" in expr and "log_type" not in expr:
            yield f"{panel['title']}: wrong passwords hide the rest"


def of_all_services(board: Json) -> Iterator[str]:
    """What one service tells of the business does not vanish when another is chosen."""
    for panel in shown(board):
        for target in panel["targets"]:
            if "service=~" in target["expr"] and metrics_in(target["expr"]) & BUSINESS:
                yield f"{panel['title']}: empty for the other services"


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
            elif panel["type"] != "table":
                for by in re.findall(r"\bby \(([^)]*)\)", target["expr"]):
                    grows = set(OPEN) & set(re.split(r",\s*", by))
                    if grows and not re.search(r"\b(topk|bottomk|sum) ?\(", target["expr"]):
                        yield f"{panel['title']}: all of {grows}"


def targets_of_links(board: Json) -> Iterator[str]:
    """What links lead to is there: dashboards, pages of the handbook."""
    uids = {file["uid"] for file in FILES.values()}
    for text in texts(board):
        yield from (uid for uid in re.findall(r"/d/([\w-]+)", text) if uid not in uids)
        for page in re.findall(rf"{KIT.handbook}/([\w./-]+)", text):
            if not (ROOT / "docs" / page).exists():
                yield f"no page {page}"


def _first(board: Json, kind: str) -> Json:
    return next(panel for panel in shown(board) if panel["type"] == kind)


def _ask(kind: str, **target: Any) -> Callable[[Json], Any]:
    return lambda board: _first(board, kind)["targets"][0].update(target)


def _oldest_first(board: Json) -> None:
    (table,) = (panel for panel in shown(board) if panel["title"] == "Last reward requests")
    next(options(table, "sortBy"))["sort"][0]["desc"] = False


# Each check, and what of the overview it would find, one for each of its branches that matter.
CHECKS: dict[Callable[[Json], Iterator[str]], list[Callable[[Json], Any]]] = {
    model: [
        lambda board: board.update(refresh="2s"),
        lambda board: board.update(tags=[]),
        lambda board: board.update(editable=True),
        lambda board: board["annotations"]["list"].pop(),
        lambda board: board["links"][0].update(keepTime=True),
    ],
    sources: [
        lambda board: _first(board, "stat")["targets"][0]["datasource"].update(uid="prometheus"),
        lambda board: _first(board, "stat")["datasource"].update(uid="prometheus"),
    ],
    places: [
        lambda board: board["panels"][1]["gridPos"].update(x=0),
        lambda board: board["panels"][2].update(id=board["panels"][1]["id"]),
        lambda board: board["panels"][2].update(title=board["panels"][1]["title"]),
        lambda board: board["panels"][0]["gridPos"].update(w=WIDTH + 1),
    ],
    first_screen: [
        lambda board: board["panels"][0]["gridPos"].update(h=30),
        lambda board: rows(board)[0].update(collapsed=False),
    ],
    words: [
        lambda board: _first(board, "stat").update(description=""),
        lambda board: _first(board, "stat")["fieldConfig"]["defaults"].update(unit="cps"),
        lambda board: _first(board, "table")["gridPos"].update(w=7),
    ],
    colours: [lambda board: _first(board, "timeseries")["fieldConfig"].update(overrides=[])],
    drawn: [
        lambda board: _first(board, "table")["fieldConfig"]["defaults"].update(noValue="none"),
        lambda board: _first(board, "timeseries")["fieldConfig"]["defaults"]["color"].update(
            mode="thresholds"
        ),
        lambda board: _first(board, "timeseries")["fieldConfig"]["defaults"]["custom"].pop(
            "axisSoftMax"
        ),
        lambda board: _first(board, "timeseries")["options"]["legend"].update(displayMode="table"),
        lambda board: _first(board, "stat")["options"].update(colorMode="none"),
    ],
    order: [
        lambda board: _first(board, "table").update(transformations=[]),
        lambda board: _first(board, "logs")["options"].update(sortOrder="Ascending"),
        _oldest_first,
    ],
    legends: [_ask("timeseries", legendFormat="{{event_id}}")],
    log_lines: [
        _ask("logs", expr='{level="error"} | line_format "x"'),
        _ask("logs", expr='{level="error",log_type="error"}'),
        _ask("logs", expr='{log_type="error"} | line_format "x"'),
    ],
    of_all_services: [_ask("stat", expr='max(events_active{service=~"$service"})')],
    shapes: [_ask("table", format="time_series"), _ask("table", instant=False)],
    variables: [_ask("stat", expr='up{a="$pod"}')],
    bounds: [
        _ask("timeseries", expr="max by (event_id) (event_participants)"),
        _ask("logs", maxLines=0),
        _ask("logs", expr='{service=~"$service"}'),
    ],
    targets_of_links: [
        lambda board: board["links"][1].update(url="/d/er-nowhere"),
        lambda board: board["links"][1].update(url=f"{KIT.handbook}/nowhere.md"),
    ],
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_dashboards(check: Callable[[Json], Iterator[str]]) -> None:
    found = {name: list(check(board)) for name, board in FILES.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    for number, spoil in enumerate(CHECKS[check]):
        spoil(spoilt := copy.deepcopy(FILES["overview"]))
        assert list(check(spoilt)) != [], number


def test_files_are_those_that_are_built_each_with_its_own_uid() -> None:
    assert {name: board["uid"] for name, board in FILES.items()} == {
        name: f"er-{name}" for name in boards()
    }
    assert len({board["title"] for board in FILES.values()}) == len(FILES)


def test_every_panel_of_the_business_is_compared_with_the_books() -> None:
    shown, known = set(of_the_business()), set(EXPECTED)
    assert shown == known, f"tests/stack/expected.py: {shown ^ known}"


def test_grafana_is_provisioned_with_these_files_and_their_data_sources() -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources/datasources.yaml").read_text())
    known = {source["uid"]: source["type"] for source in sources["datasources"]}
    for variable in FILES["overview"]["templating"]["list"]:
        if variable["type"] == "datasource":
            assert known[variable["current"]["value"]] == variable["query"]
    (file,) = (PROVISIONING / "dashboards").glob("*.yaml")
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    assert (provider["type"], provider["folder"]) == ("file", "Event Rewards")
    # ops.setup copies the folder `grafana` there
    assert provider["options"]["path"] == "/configuration/grafana/dashboards"
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert "configuration:/configuration:ro" in compose["services"]["grafana"]["volumes"]


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
