"""The files of an installation as text: dashboards, recording rules, alerts and their table."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plainview.catalogue import Alert

from . import names, recording
from .board import Dashboard
from .config import Kit
from .rules import Alerts, Rules

DASHBOARDS = Path("grafana/dashboards")
GRAFANA_ALERTS = Path("grafana/provisioning/alerting/rules.yaml")
RULES = Path("prometheus/rules")
RUNBOOKS = Path("runbooks")


@dataclass(frozen=True)
class Documents:
    """What a kit's files say; `known` are the names of all metrics that somebody makes."""

    kit: Kit
    boards: Mapping[str, Dashboard]  # by name
    alerts: Alerts
    known: Set[str]
    folder: str  # of the alert rules in Grafana
    origin: str  # what writes the files, and from what: the first line of each says so
    impacts: Mapping[str, str] = field(default_factory=dict)  # how bad, by slug of the runbook

    @property
    def rules(self) -> Rules:
        """What makes rules of the alerts; KeyError if one names a dashboard that is not there."""
        return Rules(self.kit, self.boards, self.impacts)

    def unknown(self) -> dict[str, set[str]]:
        """Each panel and rule that names a metric which nobody makes, and those metrics."""
        return {
            where: missing
            for where, expr in self._expressions()
            if (missing := names.metrics_in(expr) - self.known)
        }

    def _expressions(self) -> Iterator[tuple[str, str]]:
        for board in self.boards.values():
            for panel in board.panels():
                for query in panel.queries:
                    if query.source == "prometheus":
                        yield f"panel {panel.title} of {board.name}", query.expr
        for group in recording.groups(self.kit):
            for rule in group["rules"]:
                yield f"rule {rule['record']}", rule["expr"]
        for alerts in self.alerts.values():
            for alert in alerts:
                yield f"alert {alert.name}", alert.expr

    def files(self) -> dict[Path, str]:
        """Path and text of all files that programs read."""
        rules = self.rules
        boards = {
            DASHBOARDS / f"{name}.json": json.dumps(board.json(), indent=1, ensure_ascii=False)
            for name, board in self.boards.items()
        }
        documents: dict[Path, Mapping[str, Any]] = {
            RULES / "recording.yml": {"groups": recording.groups(self.kit)},
            RULES / "alerts.yml": {"groups": rules.prometheus_groups(self.alerts)},
            GRAFANA_ALERTS: rules.grafana_groups(self.folder, self.alerts),
        }
        return {
            **{path: f"{text}\n" for path, text in boards.items()},
            **{path: self._yaml(document) for path, document in documents.items()},
        }

    def _yaml(self, document: Mapping[str, Any]) -> str:
        return f"# {self.origin}\n{yaml_text(document)}"

    def alert_table(self, more: Mapping[str, Callable[[Alert], str]] | None = None) -> str:
        """All alerts as a Markdown table; `more` are further columns by title."""
        columns: dict[str, Callable[[Alert], str]] = {
            "Alert": _linked,
            "Severity": lambda alert: alert.severity,
            "For": lambda alert: alert.for_,
            "Says": says,
            **(more or {}),
            "Expression": lambda alert: f"`{alert.expr}`",
        }
        every = [alert for alerts in self.alerts.values() for alert in alerts]
        return table([*columns], ([show(alert) for show in columns.values()] for alert in every))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, without a line feed at its end; a `|` within a cell is escaped."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _linked(alert: Alert) -> str:
    values = "".join(f" ({value})" for value in alert.labels.values())
    return f"[{alert.name}]({RUNBOOKS}/{alert.runbook}.md){values}"


def says(alert: Alert) -> str:
    """What an alert tells, with the names of labels in place of their values."""
    text = re.sub(r"\{\{ (?:or )?\$labels\.(\w+).*?\}\}", r"(\1)", alert.summary)
    return re.sub(r"\{value[^}]*\}", "(value)", text)


def yaml_text(document: Mapping[str, Any]) -> str:
    """YAML with the keys in their order; ImportError that says what to install without PyYAML."""
    try:
        import yaml  # noqa: PLC0415 - an extra: those who only observe a service do without
    except ImportError as error:
        raise ImportError("the kit writes YAML: it needs plainview[kit], so PyYAML") from error
    text: str = yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
    return text
