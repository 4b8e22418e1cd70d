"""The pages of a kit for people: where each file goes, the table of alerts, runbooks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from plainview.catalogue import Alert

from .documents import DASHBOARDS, GRAFANA_ALERTS, RULES, RUNBOOKS, Documents, row, says

README = """\
# Observability of {services}

{origin}
Run that again after an update of plainview or of the service's own alerts and objectives. Runbooks
that you have changed are left as they are; other files that were changed are not overwritten
without `--force`.

| File | Where it goes |
|---|---|
| `{rules}/*.yml` | Prometheus: `rule_files: [{rules}/*.yml]`; check with `promtool check rules` |
| `{boards}/*.json` | Grafana: the folder of a dashboard provider, or Import in its menu |
| `{alerts}` | Grafana: `provisioning/alerting/`, if it is Grafana that notifies |
| `alerts.md`, `{runbooks}/*.md` | a place that people reach; `--runbooks URL` links alerts to it |

## Prometheus

Each job has the name of its service, and its series have the labels `service` and `environment`:

```yaml
scrape_configs:
{jobs}
```

Exemplars, the dots that open a trace, need `--enable-feature=exemplar-storage`.
{around}
## Grafana

Data sources are chosen on each dashboard; `prometheus`, `loki` and `jaeger` are the UIDs that it
looks for at first. Alert rules ask the one with the UID `{datasource}` (`--datasource`).

```yaml
# provisioning/dashboards/{prefix}.yaml
apiVersion: 1
providers:
  - name: {prefix}
    folder: {prefix}
    type: file
    options: {{path: /path/to/{boards}}}
```

| Dashboard | Answers |
|---|---|
{dashboards}

## Objectives

{objectives}

over 30 days, with alerts of their burn rates. A `Slo` of the service with one of these names takes
its place, one with another name is added (`--app MODULE` reads them).

## Alerts

[All of them, with their expressions](alerts.md). Severity `critical` is meant to call somebody,
`warning` for the working day's channel, `ticket` for a list, `none` (Watchdog) for a dead man's
switch. Who is told is yours to say, in Grafana's notification policies or in Alertmanager. Their
links lead to {grafana} (`--grafana URL`).

A service of several workers (`PROMETHEUS_MULTIPROC_DIR`) has no `process_*` metrics and no
exemplars: panels of CPU, memory, open files and starts stay empty, and HighCpu, HighMemory and
RestartLoop never fire (`--without HighCpu,HighMemory,RestartLoop` leaves them out).
"""

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
    return README.format(
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
        dashboards="\n".join(
            row(f"{board.title} (`{board.uid}`)", board.why) for board in documents.boards.values()
        ),
    )


def alerts_page(documents: Documents) -> str:
    """alerts.md: every alert with its runbook."""
    return (
        f"# Alerts\n\n{documents.origin}\nAn expression gives nothing while all is well.\n\n"
        f"{documents.alert_table()}"
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
