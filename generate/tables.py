"""The tables in the docs: alerts, and every metric of the catalogues."""

from __future__ import annotations

from pathlib import Path

from lab.incidents.catalogue import INCIDENTS
from monitoring import retention, rules
from monitoring.channels import CHANNELS
from monitoring.settings import CATALOGUES
from plainview import LIBRARY_METRICS, Alert, Bounded, Catalogue, Metric
from plainview.kit.documents import row

ROOT = Path(__file__).resolve().parents[1]
ALERTS, METRICS = Path("docs/alerts.md"), Path("docs/metrics.md")
ARCHITECTURE = Path("docs/architecture.md")
SHOWN = 8  # values of a label; of more only their number

ALERTS_HEAD = """\
# Alerts

Written by `make generate` from `monitoring/alerts.py`, where every threshold stands.
Severity decides who hears of it: {to}.
An expression gives nothing while all is well. Each alert is proven by `tests/ops/rules/` with
promtool: it fires, not one step earlier, not when healthy, not without traffic. Those seen live
were true in a real Prometheus while the fault was there and false before and after
(`make incidents`); the others have windows of hours, or faults that nobody can make here.

"""


def _seen(alert: Alert) -> str:
    """The incidents of the break-it lab that this alert has to notice."""
    if alert.name == "Watchdog":
        return "always"
    pages = [each.slug for each in INCIDENTS if each.alert.name == alert.name]
    return ", ".join(f"[{slug}](incidents/{slug}.md)" for slug in pages) or "promtool alone"


def alert_table() -> str:
    """docs/alerts.md."""
    to = "; ".join(
        f"{severity}: {' and '.join(channel.name for channel in channels)}"
        for severity, channels in CHANNELS.items()
    )
    seen = rules.documents().alert_table({"Seen live": _seen})
    return ALERTS_HEAD.format(to=to) + seen


def _labels(metric: Metric) -> str:
    found = []
    for name, values in metric.labels.items():
        if isinstance(values, Bounded):
            found.append(f"`{name}` (at most {values.limit})")
            continue
        known = [str(value) for value in values]
        shown = ", ".join(known) if len(known) <= SHOWN else f"{len(known)} values"
        found.append(f"`{name}` ({shown})")
    return "; ".join(found) or "none"


def _kind(metric: Metric, catalogue: Catalogue) -> str:
    """Of the library's gauges also what a page shows of several workers' values."""
    lost = metric.name.startswith(("process_", "python_"))
    of_workers = metric.kind == "gauge" and catalogue is LIBRARY_METRICS and not lost
    return f"gauge, {metric.multiprocess_mode}" if of_workers else metric.kind


def _section(title: str, why: str, catalogue: Catalogue) -> str:
    rows = [
        row(
            f"`{metric.name}`",
            _kind(metric, catalogue),
            metric.unit or "1",
            _labels(metric),
            metric.help.rstrip("."),
        )
        for metric in catalogue.specs
    ]
    head = [row("Metric", "Type", "Unit", "Labels", "What"), "|" + "---|" * 5]
    return "\n".join([f"## {title}", "", why, "", *head, *rows, ""])


def metric_table() -> str:
    """docs/metrics.md."""
    library, *ours = CATALOGUES
    return "\n".join(
        [
            "# Metrics",
            "",
            "Written by `make generate` from the catalogues; a test compares them with what the "
            "services expose, both ways.",
            "Prometheus adds `service`, `environment` and `instance`. Labels are closed sets that "
            "exist at zero from the start, or\nbounded: what is beyond the bound is counted under "
            "`_other`.",
            "",
            _section(
                "Any service observed by plainview",
                "Generic: what `observe(app, ...)` gives. The dashboards System performance, SLOs, "
                "Logs and traces and Telemetry\nhealth read these. "
                "With several workers and `PROMETHEUS_MULTIPROC_DIR` counters and histograms are "
                "sums,\ngauges what stands behind the comma; `process_*` and `python_*` are lost.",
                library,
            ),
            *(
                _section(
                    f"Event rewards: {each.namespace}",
                    f"Declared in `{each.namespace}/signals.py`.",
                    each,
                )
                for each in ours
            ),
        ]
    )


def block(path: Path, name: str, text: str, page: str | None = None) -> str:
    """A hand-written page with what stands between its two comments written anew.

    `page` is its text where another block was written before.
    """
    begin, end = f"<!-- make generate: {name} -->\n", "\n<!-- end -->"
    before, _, rest = (page or (ROOT / path).read_text()).partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{path} has no block {begin.strip()} ... {end.strip()}")
    return before + begin + text + end + after


def generated() -> dict[Path, str]:
    """File and text of all."""
    return {
        ALERTS: alert_table(),
        METRICS: metric_table(),
        ARCHITECTURE: block(ARCHITECTURE, "retention", retention.table()),
    }
