"""The pages of a kit for people: where each file goes, the table of alerts, runbooks."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from plainview.catalogue import Alert

from .documents import DASHBOARDS, GRAFANA_ALERTS, RULES, RUNBOOKS, Documents, says, table

JOB = """\
  - job_name: {service}
    scrape_interval: 15s
    sample_limit: {limit}
    static_configs:
      - targets: ["{service}:8000"]
        labels: {{service: {service}, environment: production}}"""

AROUND = """
The programs around are watched too if their jobs are named so: {jobs}.
"""

OWN = """\
## Meaning

{says}.

## Impact

Write here what users feel while it fires.

## Diagnosis

```promql
{expr}
```

Write here what to look at, and how to tell the causes apart.

## Mitigation

Write here what to do first.
"""


def readme(documents: Documents, jobs: Sequence[str]) -> str:
    """README.md; `jobs` are those of the programs around."""
    kit = documents.kit
    template = (resources.files(__package__) / "readme.md").read_text(encoding="utf-8")
    return template.format(
        services=" and ".join(kit.services),
        origin=documents.origin,
        rules=RULES,
        boards=DASHBOARDS,
        alerts=GRAFANA_ALERTS,
        runbooks=RUNBOOKS,
        jobs="\n".join(
            JOB.format(service=service, limit=kit.thresholds.sample_limit)
            for service in kit.services
        ),
        around=AROUND.format(jobs=", ".join(f"`{job}`" for job in jobs)),
        datasource=kit.datasource,
        grafana=kit.grafana,
        objectives="\n".join(
            f"- {slo.name}: {100 * slo.objective:g} % {slo.summary or slo.good}" for slo in kit.slos
        ),
        prefix=kit.prefix,
        dashboards=table(
            ["Dashboard", "Answers"],
            ([f"{each.title} (`{each.uid}`)", each.why] for each in documents.boards.values()),
        ),
    )


def alerts_page(documents: Documents) -> str:
    """alerts.md: every alert with its runbook."""
    return (
        f"# Alerts\n\n{documents.origin}\nAn expression gives nothing while all is well.\n\n"
        f"{documents.alert_table()}\n"
    )


def runbooks(alerts: Sequence[Alert]) -> dict[Path, str]:
    """A page for each name of an alert; those of own alerts are there to be filled in."""
    pages = {}
    for first in alerts:
        path = RUNBOOKS / f"{first.runbook}.md"
        if path in pages:
            continue
        same = [alert for alert in alerts if alert.name == first.name]
        rules = "\n".join(f"{alert.expr}  # for {alert.for_}" for alert in same)
        head = f"# {first.name}\n\nSeverity {first.severity}. Fires when this gives anything:\n"
        body = _known(first) or OWN.format(says=says(first).rstrip("."), expr=first.expr)
        pages[path] = f"{head}\n```promql\n{rules}\n```\n\n{body}"
    return pages


def _known(alert: Alert) -> str | None:
    """The page of one of the kit's own alerts."""
    page = resources.files(__package__) / "runbooks" / f"{alert.runbook}.md"
    return page.read_text(encoding="utf-8") if page.is_file() else None
