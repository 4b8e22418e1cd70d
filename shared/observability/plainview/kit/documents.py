"""The files of an installation as text: dashboards, rules, alerts and their table.

Grafana evaluates alerts and notifies; the same rules in Prometheus give `ALERTS` to dashboards and
tests.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from plainview.catalogue import Alert

from . import names, recording
from .board import Dashboard
from .config import Kit
from .panels import Json, number

DASHBOARDS = Path("grafana/dashboards")
GRAFANA_ALERTS = Path("grafana/provisioning/alerting/rules.yaml")
RULES = Path("prometheus/rules")
RUNBOOKS = Path("runbooks")
LONGEST_UID = 40  # of Grafana


@dataclass(frozen=True)
class Documents:
    """What a kit's files say; `known` are the names of all metrics that somebody makes."""

    kit: Kit
    boards: Mapping[str, Dashboard]  # by name
    alerts: Mapping[str, Sequence[Alert]]  # by the name of their group
    known: Set[str]
    folder: str  # of the alert rules in Grafana
    origin: str  # what writes the files, and from what: the first line of each says so
    impacts: Mapping[str, str] = field(default_factory=dict)  # how bad, by slug of the runbook

    @property
    def every_alert(self) -> list[Alert]:
        """Those of all groups."""
        return [alert for group in self.alerts.values() for alert in group]

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
        for alert in self.every_alert:
            yield f"alert {alert.name}", alert.expr

    def files(self) -> dict[Path, str]:
        """Path and text of all files that programs read."""
        boards = {
            DASHBOARDS / f"{name}.json": json.dumps(board.json(), indent=1, ensure_ascii=False)
            for name, board in self.boards.items()
        }
        documents: dict[Path, Mapping[str, Any]] = {
            RULES / "recording.yml": {"groups": recording.groups(self.kit)},
            RULES / "alerts.yml": {"groups": self.alert_groups()},
            GRAFANA_ALERTS: self.grafana_groups(),
        }
        head = f"# {self.origin}\n"
        return {
            **{path: f"{text}\n" for path, text in boards.items()},
            **{path: head + yaml_text(document) for path, document in documents.items()},
        }

    def place(self, alert: Alert) -> tuple[str, int]:
        """UID of an alert's dashboard, number of its panel or 0; KeyError if one is unknown."""
        board = self.boards[alert.dashboards[0]]
        if alert.panel not in {"", *(panel.title for panel in board.panels())}:
            raise KeyError(alert.panel)
        return board.uid, number(alert.panel) if alert.panel else 0

    def texts_of(self, alert: Alert, value: str = "$value") -> dict[str, str]:
        """Summary, impact, links; `value` is the name of the value in the evaluating program."""

        def put(found: re.Match[str]) -> str:
            how = f'printf "{found[1]}" {value}' if found[1][0] == "%" else f"{value} | {found[1]}"
            return f"{{{{ {how} }}}}"

        texts = {"summary": re.sub(r"\{value:([%.\w]+)\}", put, _guarded(alert.summary))}
        if impact := self.impacts.get(alert.runbook):
            texts["impact"] = impact
        if runbook := self.kit.runbook(alert.runbook):
            texts["runbook_url"] = runbook
        if alert.dashboards:
            uid, panel = self.place(alert)
            view = f"?viewPanel={panel}" if panel else ""
            texts["dashboard_url"] = f"{self.kit.grafana}/d/{uid}{view}"
        return texts

    def alert_groups(self) -> list[Json]:
        """The alerts as Prometheus evaluates them."""

        def rule(alert: Alert) -> Json:
            return {
                "alert": alert.name, "expr": alert.expr, "for": alert.for_,
                "labels": labels(alert), "annotations": self.texts_of(alert),
            }  # fmt: skip

        groups = self.alerts.items()
        return [recording.group(name, [rule(alert) for alert in alerts]) for name, alerts in groups]

    def grafana_groups(self) -> Json:
        """The alerts for Grafana: any series of the expression fires."""
        groups = [
            {
                "orgId": 1, "name": name, "folder": self.folder, "interval": "30s",
                "rules": [self._grafana_rule(alert) for alert in alerts],
            }
            for name, alerts in self.alerts.items()
        ]  # fmt: skip
        return {"apiVersion": 1, "groups": groups}

    def _grafana_rule(self, alert: Alert) -> Json:
        texts = self.texts_of(alert, "$values.A.Value")
        # Grafana fills it in also while there is no value: each time an error in its log
        texts["summary"] = f"{{{{ with $values.A }}}}{texts['summary']}{{{{ end }}}}"
        if alert.dashboards:
            uid, panel = self.place(alert)
            texts["__dashboardUid__"] = uid
            if panel:
                texts["__panelId__"] = str(panel)
        suffix = "".join(f"-{value}" for value in alert.labels.values())
        # Grafana requires a threshold; any value from 0 on meets this one: 0 fires too (`up == 0`)
        threshold: Json = {
            "refId": "B", "type": "threshold", "expression": "A",
            "datasource": {"type": "__expr__", "uid": "__expr__"},
            "conditions": [{"evaluator": {"type": "gt", "params": [-1]}}],
        }  # fmt: skip
        query: Json = {
            "refId": "A", "expr": alert.expr, "instant": True, "range": False,
            "datasource": {"type": "prometheus", "uid": self.kit.datasource},
        }  # fmt: skip
        return {
            "uid": _bounded_uid(f"{self.kit.rule_prefix}{alert.runbook}{suffix}"),
            "title": f"{alert.name}{suffix}",
            "condition": "B",
            "for": alert.for_,
            "noDataState": "OK",
            "execErrState": "Error",
            "isPaused": False,
            "labels": labels(alert),
            "annotations": texts,
            "data": [
                {
                    "refId": model["refId"],
                    "datasourceUid": model["datasource"]["uid"],
                    "relativeTimeRange": {"from": 600, "to": 0},
                    "model": model,
                }
                for model in (query, threshold)
            ],
        }

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
        rows = ([show(alert) for show in columns.values()] for alert in self.every_alert)
        return table([*columns], rows)


def labels(alert: Alert) -> dict[str, str]:
    """The labels of an alert, besides those of its expression."""
    return {"severity": alert.severity, **alert.labels}


def _bounded_uid(name: str) -> str:
    """A name as Grafana takes it for a UID: of one that is too long the end is a hash."""
    if len(name) <= LONGEST_UID:
        return name
    return f"{name[: LONGEST_UID - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def _guarded(summary: str) -> str:
    """The text with a word for each label that a series lacks: Grafana writes `[no value]` there.

    `{{ or $labels.service $labels.job }}` is the first that is there.
    """

    def put(found: re.Match[str]) -> str:
        names = re.findall(r"\$labels\.(\w+)", found[0])
        text = f"an unknown {names[0]}"
        for name in reversed(names):
            text = f"{{{{ with $labels.{name} }}}}{{{{ . }}}}{{{{ else }}}}{text}{{{{ end }}}}"
        return text

    return re.sub(r"\{\{ (or )?\$labels\.\w+( \$labels\.\w+)* \}\}", put, summary)


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
