"""The files that the kit makes of this installation: dashboards, recording rules, alert rules."""

from pathlib import Path
from typing import Any

from monitoring import alerts, dashboards
from monitoring.settings import CATALOGUES, EXPORTED, KIT
from plainview.kit import names, recording
from plainview.kit.documents import DASHBOARDS, GRAFANA_ALERTS, RULES, Documents

__all__ = ["DASHBOARDS", "GRAFANA", "RULES", "RUNBOOKS", "documents", "generated", "groups"]

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
GRAFANA = GRAFANA_ALERTS.parent
RUNBOOKS = Path("docs/runbooks")
FOLDER = "Event Rewards alerts"
ORIGIN = "Written by `make generate` from monitoring/ and plainview/kit/: change those, not this."


def documents() -> Documents:
    """All of it, not written yet."""
    by_group = {"generic": alerts.GENERIC, "event-rewards": alerts.REWARDS}
    return Documents(KIT, dashboards.boards(), by_group, known(), FOLDER, ORIGIN, _impacts())


def _impacts() -> dict[str, str]:
    """How bad each alert is: what its runbook says first under "Impact"."""
    found = {}
    for path in (ROOT / RUNBOOKS).glob("*.md"):
        _, _, after = path.read_text().partition("\n## Impact\n")
        found[path.stem] = " ".join(after.strip().split("\n\n")[0].split()).replace("`", "")
    return found


def groups() -> list[Json]:
    """The groups of recording and alert rules, as Prometheus reads them."""
    return [*recording.groups(KIT), *documents().alert_groups()]


def known() -> set[str]:
    """Every metric that somebody makes."""
    return names.known(KIT, CATALOGUES) | EXPORTED


def generated() -> dict[Path, str]:
    """File and text of all; ValueError if one names a metric that nobody makes."""
    made = documents()
    if unknown := made.unknown():
        raise ValueError(f"metrics that nobody declares: {unknown}")
    return made.files()
