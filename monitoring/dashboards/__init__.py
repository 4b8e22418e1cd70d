"""The dashboards, as code: `make generate` writes them to grafana/dashboards/.

Every metric named in a query has to be known (`plainview.kit.names`), else writing fails: a typo
is an error here and not an empty panel there.
"""

from __future__ import annotations

import json
from pathlib import Path

from monitoring.dashboards.databases import databases
from monitoring.dashboards.events import events
from monitoring.dashboards.overview import overview
from monitoring.dashboards.protection import protection
from monitoring.dashboards.users import users
from monitoring.settings import CATALOGUES, EXPORTED, KIT
from plainview.kit import Dashboard, logs_and_traces, names, slos, system, telemetry
from plainview.kit.panels import Json

FOLDER = Path("grafana/dashboards")


def boards() -> dict[str, Dashboard]:
    """All of them by name; the last four show any service that plainview observes."""
    made = (
        overview(),
        users(),
        events(),
        system(KIT, more=[databases(), protection()]),
        slos(KIT),
        logs_and_traces(KIT),
        telemetry(KIT),
    )
    return {board.name: board for board in made}


def unknown_metrics(dashboard: Json) -> dict[str, set[str]]:
    """Title of each panel that names metrics nobody makes, and those."""
    known = names.known(KIT, CATALOGUES) | EXPORTED
    return {
        panel["title"]: missing
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if target["datasource"]["type"] == "prometheus"
        and (missing := names.metrics_in(target["expr"]) - known)
    }


def generated() -> dict[Path, str]:
    """File name and text of every dashboard; ValueError if one names an unknown metric."""
    files = {}
    for name, board in boards().items():
        dashboard = board.json()
        if unknown := unknown_metrics(dashboard):
            raise ValueError(f"metrics that nobody declares: {name}: {unknown}")
        files[FOLDER / f"{name}.json"] = json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"
    return files
