"""Alert rules for Prometheus and Grafana, each with its runbook, dashboard and panel.

Grafana evaluates and notifies; the same rules in Prometheus give `ALERTS` to dashboards and tests.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from plainview.catalogue import Alert

from .board import Dashboard
from .config import Kit
from .recording import group

Json = dict[str, Any]
Alerts = Mapping[str, Sequence[Alert]]  # by the name of their group
LONGEST_UID = 40  # of Grafana


def labels(alert: Alert) -> dict[str, str]:
    """The labels of an alert, besides those of its expression."""
    return {"severity": alert.severity, **alert.labels}


def bounded_uid(name: str) -> str:
    """A name as Grafana takes it for a UID: 40 characters at most, of a longer one with a hash."""
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


class Rules:
    """The rules of one kit; `boards` are the dashboards that alerts refer to, by name.

    `impacts` says how bad it is, by the slug of the alert's runbook.
    """

    def __init__(
        self, kit: Kit, boards: Mapping[str, Dashboard], impacts: Mapping[str, str] | None = None
    ) -> None:
        self._kit = kit
        self._impacts = impacts or {}
        self._boards = {name: board.json() for name, board in boards.items()}

    def texts_of(self, alert: Alert, value: str = "$value") -> dict[str, str]:
        """Summary, impact, links; `value` is the name of the value in the evaluating program."""

        def put(found: re.Match[str]) -> str:
            how = found[1]
            if how.startswith("%"):
                return f'{{{{ printf "{how}" {value} }}}}'
            return f"{{{{ {value} | {how} }}}}"

        texts = {"summary": re.sub(r"\{value:([%.\w]+)\}", put, _guarded(alert.summary))}
        if impact := self._impacts.get(alert.runbook):
            texts["impact"] = impact
        if runbook := self._kit.runbook(alert.runbook):
            texts["runbook_url"] = runbook
        if alert.dashboards:
            uid, panel = self.place(alert)
            view = f"?viewPanel={panel}" if panel else ""
            texts["dashboard_url"] = f"{self._kit.grafana}/d/{uid}{view}"
        return texts

    def place(self, alert: Alert) -> tuple[str, int]:
        """UID of an alert's dashboard, number of its panel or 0; KeyError if one is unknown."""
        dashboard = self._boards[alert.dashboards[0]]
        panels = {
            panel["title"]: panel["id"]
            for each in dashboard["panels"]
            for panel in (each, *each.get("panels", ()))  # those of folded rows
        }
        return dashboard["uid"], panels[alert.panel] if alert.panel else 0

    def prometheus_groups(self, alerts: Alerts) -> list[Json]:
        """The alerts as Prometheus evaluates them."""
        return [
            group(
                name,
                [
                    {
                        "alert": alert.name, "expr": alert.expr, "for": alert.for_,
                        "labels": labels(alert), "annotations": self.texts_of(alert),
                    }
                    for alert in declared
                ],
            )
            for name, declared in alerts.items()
        ]  # fmt: skip

    def grafana_groups(self, folder: str, alerts: Alerts) -> Json:
        """The alerts for Grafana: any series of the expression fires, also 0 (`up == 0`)."""
        groups = []
        for name, declared in alerts.items():
            rules = []
            for alert in declared:
                texts = self.texts_of(alert, "$values.A.Value")
                # Grafana fills it in also while there is no value: each time an error in its log
                texts["summary"] = f"{{{{ with $values.A }}}}{texts['summary']}{{{{ end }}}}"
                if alert.dashboards:
                    uid, panel = self.place(alert)
                    texts["__dashboardUid__"] = uid
                    if panel:
                        texts["__panelId__"] = str(panel)
                suffix = "".join(f"-{value}" for value in alert.labels.values())
                # Grafana requires a threshold; any value from 0 on meets this one
                threshold: Json = {
                    "refId": "B", "type": "threshold", "expression": "A",
                    "datasource": {"type": "__expr__", "uid": "__expr__"},
                    "conditions": [{"evaluator": {"type": "gt", "params": [-1]}}],
                }  # fmt: skip
                query: Json = {
                    "refId": "A", "expr": alert.expr, "instant": True, "range": False,
                    "datasource": {"type": "prometheus", "uid": self._kit.datasource},
                }  # fmt: skip
                rules.append(
                    {
                        "uid": bounded_uid(f"{self._kit.rule_prefix}{alert.runbook}{suffix}"),
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
                )
            groups.append(
                {"orgId": 1, "name": name, "folder": folder, "interval": "30s", "rules": rules}
            )
        return {"apiVersion": 1, "groups": groups}
