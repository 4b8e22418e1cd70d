"""The tables in the docs: alerts, every metric of the catalogues, settings of the library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from lab.incidents.catalogue import INCIDENTS
from monitoring import retention, rules
from monitoring.channels import CHANNELS
from monitoring.settings import CATALOGUES
from plainview import LIBRARY_METRICS, Alert, Bounded, Catalogue, Metric, ObservabilitySettings
from plainview.kit.documents import table

ROOT = Path(__file__).resolve().parents[1]
ALERTS, METRICS = Path("docs/alerts.md"), Path("docs/metrics.md")
ARCHITECTURE, SETTINGS = Path("docs/architecture.md"), Path("docs/plainview/settings.md")
SHOWN = 8  # values of a label; of more only their number
SHOWN_OF_LIST = 3  # values of a setting; of more only their number and the ends


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


def _values(annotation: Any) -> str:
    """What may be given, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if annotation is bool:
        return "switch"
    if annotation in (int, float):
        return "number"
    if annotation is str or "Secret" in str(annotation):
        return "text"
    if get_origin(annotation) is tuple:
        return "numbers, as JSON" if float in get_args(annotation) else "networks"
    (inner,) = (each for each in get_args(annotation) if each is not type(None))
    return _values(inner)


def _default(value: Any) -> str:
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return (
            f"{len(value)} from {value[0]} to {value[-1]}"
            if len(value) > SHOWN_OF_LIST
            else str(value)
        )
    return f"`{value}`"


def _variables(name: str, field: FieldInfo) -> str:
    choices = getattr(field.validation_alias, "choices", ())
    names = dict.fromkeys([f"PLAINVIEW_{name.upper()}", *(str(c) for c in choices if c != name)])
    return ", ".join(f"`{each}`" for each in names)


def settings_table() -> str:
    """All settings; ValueError for one without a docstring below it."""
    rows = []
    for name, field in ObservabilitySettings.model_fields.items():
        if not field.description:
            raise ValueError(f"plainview/settings.py: {name} has no docstring below it")
        cells = (_values(field.annotation), _default(field.default), field.description)
        rows.append((f"`{name}`", *cells, _variables(name, field)))
    return table(["Setting", "Values", "Default", "What", "Variables"], rows)


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
        SETTINGS: filled(SETTINGS, {"settings": settings_table()}),
    }
