"""The dashboards, as code: `make generate` writes them to grafana/dashboards/.

Every metric named in a query has to be known (`names.py`), else writing fails: a typo is an
error here and not an empty panel there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from monitoring import names
from monitoring.dashboards.board import Dashboard
from monitoring.dashboards.events import events
from monitoring.dashboards.logs import logs_and_traces
from monitoring.dashboards.overview import overview
from monitoring.dashboards.panels import Json
from monitoring.dashboards.slos import slos
from monitoring.dashboards.system import system
from monitoring.dashboards.telemetry import telemetry
from monitoring.dashboards.users import users

FOLDER = Path("grafana/dashboards")
# file name (also what alerts call it) to what builds it; the UID is `er-` and the name
DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "overview": overview,
    "users": users,
    "events": events,
    # any service that plainview observes; with one row of event rewards in `system`
    "system": system,
    "slos": slos,
    "logs": logs_and_traces,
    "telemetry": telemetry,
}


def unknown_metrics(dashboard: Json) -> dict[str, set[str]]:
    """Title of each panel that names metrics nobody makes, and those."""
    return {
        panel["title"]: missing
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if target["datasource"]["type"] == "prometheus"
        and (missing := names.metrics_in(target["expr"]) - names.known())
    }


def generated() -> dict[Path, str]:
    """File name and text of every dashboard; ValueError if one names an unknown metric."""
    files = {}
    for name, build in DASHBOARDS.items():
        dashboard = build().json()
        if unknown := unknown_metrics(dashboard):
            raise ValueError(f"metrics that nobody declares: {name}: {unknown}")
        files[FOLDER / f"{name}.json"] = json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"
    return files
