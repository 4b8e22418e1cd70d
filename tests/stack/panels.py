"""The committed dashboards: what each panel asks, with the variables filled in, and of whom."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auth.signals import CATALOGUE as AUTH
from event.signals import CATALOGUE as EVENT
from plainview.kit.names import metrics_in
from tests.stack.programs import ROOT

DASHBOARDS = ROOT / "grafana" / "dashboards"
# `All` of a variable is whatever there is; Grafana's own are as for a range of minutes.
VALUES = {
    "service": ".+", "environment": ".+", "event": ".+",
    "__rate_interval": "1m", "__interval": "15s", "__auto": "1m",
    "__range": "30m", "__range_s": "1800", "__range_ms": "1800000", "__interval_ms": "15000",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One query of a panel."""

    dashboard: str
    panel: str
    ref: str
    source: str
    expr: str
    instant: bool
    texts: Mapping[str, str]  # its text variables, as they are at first

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.ref}"

    def filled(self, **values: str) -> str:
        """The expression without variables; a variable that is not known is an error."""
        return fill(self.expr, {**self.texts, **values})


def fill(expr: str, values: Mapping[str, str] | None = None) -> str:
    known = {**VALUES, **(values or {})}
    return re.sub(r"\$\{?([A-Za-z_]\w*)(?::\w+)?\}?", lambda found: known[found[1]], expr)


def dashboards(folder: Path = DASHBOARDS) -> dict[str, Any]:
    """Name to JSON."""
    files = sorted(folder.glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in files}


def _flat(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _flat(panel.get("panels", []))  # of a row that is closed


def targets(folder: Path = DASHBOARDS) -> list[Target]:
    """Every query of every panel."""
    return [
        Target(
            name,
            panel["title"],
            target["refId"],
            target["datasource"]["type"],
            target.get("expr", ""),
            bool(target.get("instant")) or target.get("queryType") == "instant",
            texts(dashboard),
        )
        for name, dashboard in dashboards(folder).items()
        for panel in _flat(dashboard["panels"])
        for target in panel.get("targets", [])
    ]


def texts(dashboard: dict[str, Any]) -> dict[str, str]:
    return {
        variable["name"]: variable["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "textbox"
    }


def label_queries() -> dict[str, tuple[str, str]]:
    """Variables that ask Prometheus for the values of a label: name to (series, label).

    Those that ask for a query's answer have a text for each value: the label `title`.
    """
    found = {}
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            query = variable.get("definition", "")
            if parts := re.fullmatch(r"label_values\((.+),\s*(\w+)\)", query):
                found[f"{name}: ${variable['name']}"] = fill(parts[1]), parts[2]
            elif parts := re.fullmatch(r"query_result\(.*?(\w+\{[^}]*\}).*\)", query):
                found[f"{name}: ${variable['name']}"] = fill(parts[1]), "title"
    return found


def of_the_business() -> dict[str, Target]:
    """By name: all of users and events; of the overview what names a metric of the business."""
    names = {metric.name for catalogue in (AUTH, EVENT) for metric in catalogue.specs}
    return {
        target.name: target
        for target in targets()
        if target.dashboard in ("users", "events")
        or (target.dashboard == "overview" and metrics_in(target.expr) & names)
    }
