"""The files that the kit makes of this installation: dashboards, recording rules, alert rules."""

from functools import cache
from pathlib import Path
from typing import Any

from monitoring import alerts, dashboards
from monitoring.settings import CATALOGUES, EXPORTED, KIT
from plainview import Alert
from plainview.kit import names, recording
from plainview.kit.documents import DASHBOARDS, GRAFANA_ALERTS, RULES, Documents
from plainview.kit.rules import Rules

__all__ = ["DASHBOARDS", "GRAFANA", "RULES", "RUNBOOKS", "generated", "known", "rules"]

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
GRAFANA = GRAFANA_ALERTS.parent
RUNBOOKS = Path("docs/runbooks")
FOLDER = "Event Rewards alerts"
ORIGIN = "Written by `make generate` from monitoring/ and plainview/kit/: change those, not this."


def groups() -> dict[str, list[Alert]]:
    """The alerts by the name of their group."""
    return {"generic": alerts.GENERIC, "event-rewards": alerts.REWARDS}


def documents() -> Documents:
    """All of it, not written yet."""
    return Documents(KIT, dashboards.boards(), groups(), known(), FOLDER, ORIGIN, impacts())


def impacts() -> dict[str, str]:
    """How bad each alert is: what its runbook says first under "Impact"."""
    found = {}
    for path in (ROOT / RUNBOOKS).glob("*.md"):
        _, _, after = path.read_text().partition("\n## Impact\n")
        found[path.stem] = " ".join(after.strip().split("\n\n")[0].split()).replace("`", "")
    return found


@cache
def rules() -> Rules:
    """What makes rules of alerts."""
    return documents().rules


def recorded() -> list[Json]:
    """The groups of recording rules."""
    return recording.groups(KIT)


def prometheus_groups() -> list[Json]:
    """The groups of alert rules for Prometheus."""
    return rules().prometheus_groups(groups())


def known() -> set[str]:
    """Every metric that somebody makes."""
    return names.known(KIT, CATALOGUES) | EXPORTED


def generated() -> dict[Path, str]:
    """File and text of all; ValueError if one names a metric that nobody makes."""
    made = documents()
    if unknown := made.unknown():
        raise ValueError(f"metrics that nobody declares: {unknown}")
    return made.files()
