"""Recording rules, and alert rules for Prometheus and Grafana, as files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from monitoring import alerts, dashboards
from monitoring.settings import CATALOGUES, EXPORTED, KIT
from plainview import Alert
from plainview.kit import names, recording
from plainview.kit.rules import Rules

Json = dict[str, Any]

RULES = Path("prometheus/rules")
GRAFANA = Path("grafana/provisioning/alerting")
RUNBOOKS = Path("docs/runbooks")
FOLDER = "Event Rewards alerts"


def groups() -> dict[str, list[Alert]]:
    """The alerts by the name of their group."""
    return {"generic": alerts.GENERIC, "event-rewards": alerts.REWARDS}


@cache
def rules() -> Rules:
    """What makes rules of alerts."""
    return Rules(KIT, dashboards.boards())


def recorded() -> list[Json]:
    """The groups of recording rules."""
    return recording.groups(KIT)


def prometheus_groups() -> list[Json]:
    """The groups of alert rules for Prometheus."""
    return rules().prometheus_groups(groups())


def known() -> set[str]:
    """Every metric that somebody makes."""
    return names.known(KIT, CATALOGUES) | EXPORTED


def _yaml(document: Mapping[str, Any], source: str) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
    return f"# Written by `make generate` from monitoring/{source}: change that, not this.\n{text}"


def generated() -> dict[Path, str]:
    """File and text of all rules; ValueError if one names an unknown metric."""
    made = known()
    unknown = {
        (rule.get("record") or rule["alert"]): missing
        for group in (*recorded(), *prometheus_groups())
        for rule in group["rules"]
        if (missing := names.metrics_in(rule["expr"]) - made)
    }
    if unknown:
        raise ValueError(f"metrics that nobody declares: {unknown}")
    return {
        RULES / "recording.yml": _yaml({"groups": recorded()}, "recording.py"),
        RULES / "alerts.yml": _yaml({"groups": prometheus_groups()}, "alerts.py"),
        GRAFANA / "rules.yaml": _yaml(rules().grafana_groups(FOLDER, groups()), "alerts.py"),
    }
