"""The tables in the docs: alerts, and every metric of the catalogues."""

from collections.abc import Mapping
from pathlib import Path

from lab.incidents.catalogue import INCIDENTS
from monitoring import retention, rules
from monitoring.channels import CHANNELS
from monitoring.settings import CATALOGUES
from plainview import LIBRARY_METRICS, Alert, Bounded, Catalogue, Metric
from plainview.kit.documents import table

ROOT = Path(__file__).resolve().parents[1]
ALERTS, METRICS = Path("docs/alerts.md"), Path("docs/metrics.md")
ARCHITECTURE = Path("docs/architecture.md")
SHOWN = 8  # values of a label; of more only their number


def _seen(alert: Alert) -> str:
    """The incidents of the break-it lab that this alert has to notice."""
    if alert.name == "Watchdog":
        return "always"
    pages = [each.slug for each in INCIDENTS if each.alert.name == alert.name]
    return ", ".join(f"[{slug}](incidents/{slug}.md)" for slug in pages) or "promtool alone"


def told() -> str:
    """Who hears of which severity, in a sentence."""
    to = "; ".join(
        f"{severity}: {' and '.join(channel.name for channel in channels)}"
        for severity, channels in CHANNELS.items()
    )
    return f"Severity decides who hears of it: {to}."


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


def metric_table(catalogue: Catalogue) -> str:
    """Every metric of a catalogue."""
    rows = [
        (f"`{each.name}`", _kind(each, catalogue), each.unit or "1", _labels(each),
         each.help.rstrip("."))
        for each in catalogue.specs
    ]  # fmt: skip
    return table(["Metric", "Type", "Unit", "Labels", "What"], rows)


def filled(path: Path, blocks: Mapping[str, str]) -> str:
    """A hand-written page with what stands between the comments of each block written anew.

    ValueError if it lacks one of these blocks.
    """
    page = (ROOT / path).read_text()
    for name, text in blocks.items():
        begin, end = f"<!-- make generate: {name} -->\n", "\n<!-- end -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{path} has no block {begin.strip()} ... {end.strip()}")
        page = before + begin + text + end + after
    return page


def generated() -> dict[Path, str]:
    """File and text of all."""
    alerts = rules.documents().alert_table({"Seen live": _seen})
    return {
        ALERTS: filled(ALERTS, {"severities": told(), "alerts": alerts}),
        METRICS: filled(METRICS, {each.namespace: metric_table(each) for each in CATALOGUES}),
        ARCHITECTURE: filled(ARCHITECTURE, {"retention": retention.table()}),
    }
