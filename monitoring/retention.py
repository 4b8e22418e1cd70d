"""How long telemetry is kept, read from the configuration of the programs that keep it.

Logs: `limits_config` of telemetry/loki.yaml. Traces: telemetry/jaeger.yaml. Metrics: the flags of
Prometheus in docker-compose.yml. Change it there; dashboards and docs follow with `make generate`.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from plainview.kit.documents import table as markdown

ROOT = Path(__file__).resolve().parents[1]
_HOURS = {"w": 168, "d": 24, "h": 1}


def hours(duration: str) -> int:
    """Of Loki's and Prometheus' `15d`, `12w6d` or `72h`."""
    return sum(int(n) * _HOURS[unit] for n, unit in re.findall(r"(\d+)([wdh])", duration))


def _read(file: str) -> Any:
    return yaml.safe_load((ROOT / file).read_text())


@cache
def log_days() -> dict[str, int]:
    """Days by kind of line; what Loki's streams do not name is `general`."""
    limits = _read("telemetry/loki.yaml")["limits_config"]
    days = {"general": hours(limits["retention_period"]) // 24}
    for stream in sorted(limits["retention_stream"], key=lambda each: int(each["priority"])):
        (kind,) = re.findall(r'log_type="(\w+)"', stream["selector"])
        days[kind] = hours(stream["period"]) // 24
    return days


def trace_hours() -> int:
    """Of what Jaeger keeps on its disk."""
    backends = _read("telemetry/jaeger.yaml")["extensions"]["jaeger_storage"]["backends"]
    return hours(backends["kept"]["badger"]["ttl"]["spans"])


def metrics() -> tuple[int, str]:
    """Days and size, `10 GB`: Prometheus drops the oldest when either is reached."""
    flags = _read("docker-compose.yml")["services"]["prometheus"]["command"]
    found = dict(re.findall(r"--storage\.tsdb\.retention\.(time|size)=(\w+)", " ".join(flags)))
    return hours(found["time"]) // 24, found["size"].replace("GB", " GB")


def table() -> str:
    """The table of signals in docs/architecture.md."""
    days, size = metrics()
    rows: list[tuple[str, str, str, str]] = [
        ("metrics", "`/metrics` of each replica", "Prometheus", f"{days} days or {size}"),
        ("exemplars", "histogram buckets of sampled requests", "Prometheus", "the last 100,000"),
        (
            "spans",
            "OTLP, masked before they leave the process",
            "Collector, Jaeger",
            f"{trace_hours()} hours",
        ),
        ("span metrics, service graph", "all spans, before sampling", "Prometheus", "as metrics"),
        *((f"logs `{kind}`", "stdout", "Loki", f"{n} days") for kind, n in log_days().items()),
        ("archives", "`.venv/bin/python -m ops.archive`", "files", "as long as you keep them"),
    ]
    return markdown(["signal", "from", "to", "kept for"], rows)
