"""The description of an installation, one object that dashboards, rules and alerts are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from plainview.catalogue import Slo
from plainview.settings import LATENCY_BUCKETS

# The windows of a burn-rate alert: (long, short, burn rate, for). SRE workbook, chapter 5.
Windows = tuple[str, str, float, str]


@dataclass(frozen=True)
class Thresholds:
    """Beyond these values an alert fires. Ratios are 0 to 1, `_s` are seconds."""

    error_ratio: float = 0.05
    latency_s: float = 0.5  # a bucket of http_request_duration_seconds
    floor_rps: float = 0.2  # with fewer requests per second a ratio says nothing
    restarts: int = 2  # per replica in 15 minutes
    memory_ratio: float = 0.85
    cpu_ratio: float = 0.8
    db_failure_ratio: float = 0.05
    db_slow_s: float = 0.25
    pool_ratio: float = 0.8
    # Per second. PyMongo checks a server every 10 s, so one that is away causes 0.1 per second.
    connection_failures: float = 0.05
    queue_ratio: float = 0.8
    span_queue: int = 2048  # spans; OpenTelemetry's default size of the queue in a service
    log_queue: int = 10_000  # lines; plainview's default size of the queue in a service
    sample_limit: int = 20_000  # samples of one scrape, the same as sample_limit in prometheus.yml
    series_growth: int = 3  # times the usual number of series
    series_base: int = 3000  # a service with fewer series than this counts as having this many
    page: tuple[Windows, ...] = (("1h", "5m", 14.4, "2m"), ("6h", "30m", 6, "15m"))
    ticket: tuple[Windows, ...] = (("1d", "2h", 3, "1h"), ("3d", "6h", 1, "3h"))

    def __post_init__(self) -> None:
        """ValueError if `latency_s` is no bucket, as slow requests could only be estimated then."""
        if self.latency_s not in LATENCY_BUCKETS:
            raise ValueError(f"latency_s={self.latency_s} is not one of {LATENCY_BUCKETS}")


# What there is besides the services; the panels and alerts of a part that is missing are left out.
Part = Literal["mongodb", "redis", "sqlalchemy", "http_client", "collector", "loki"]
PARTS: frozenset[Part] = frozenset(get_args(Part))


def _objectives(selector: str, latency_s: float) -> tuple[Slo, ...]:
    return (
        Slo(
            "availability",
            0.999,
            good=f'http_requests_total{{{selector},status_code!~"5.."}}',
            total=f"http_requests_total{{{selector}}}",
            summary="answered without a server error",
        ),
        Slo(
            "latency",
            0.99,
            good=f'http_request_duration_seconds_bucket{{{selector},le="{latency_s}"}}',
            total=f"http_request_duration_seconds_count{{{selector}}}",
            summary=f"answered within {latency_s} s",
        ),
    )


@dataclass(frozen=True)
class Kit:
    """One installation: its services, where its pages are, and its thresholds."""

    services: tuple[str, ...]  # jobs of Prometheus, and values of the label `service`
    parts: frozenset[Part] = PARTS
    prefix: str = "pv"  # a dashboard's UID is this, a hyphen and its name
    tag: str = "plainview"  # of all dashboards: the menu lists those that have it
    # Base URL of the pages alerts.md and runbooks/NAME.md; if empty, nothing links to them.
    handbook: str = ""
    grafana: str = "http://localhost:3000"
    datasource: str = "prometheus"  # UID of Prometheus in Grafana, which its alert rules ask
    rule_prefix: str = ""  # of the UIDs of Grafana's alert rules, if other kits are there too
    optional_exporter: str = ""  # of the Collector: one that may lose spans without an alert
    # Days that Loki keeps a line, by its kind; if empty, panels do not mention it.
    log_days: Mapping[str, int] = field(default_factory=dict)
    thresholds: Thresholds = Thresholds()
    without: frozenset[str] = frozenset()  # names of usual alerts that are left out
    # Besides availability 99.9 % and latency 99 %, or instead of the one with the same name.
    objectives: tuple[Slo, ...] = ()
    # Selects the jobs of the programs around, whose loss is told of.
    around: str = 'service=""'

    @property
    def selector(self) -> str:
        """Selects the services, as a matcher of PromQL."""
        names = "|".join(self.services)
        return f'service=~"{names}"' if len(self.services) > 1 else f'service="{names}"'

    @property
    def slos(self) -> tuple[Slo, ...]:
        """The objectives of every service."""
        usual = _objectives(self.selector, self.thresholds.latency_s)
        return tuple({slo.name: slo for slo in (*usual, *self.objectives)}.values())

    @property
    def sinks(self) -> str:
        """Selects the Collector's exporters that must not lose spans."""
        return f'{{exporter!="{self.optional_exporter}"}}'

    def uid(self, name: str) -> str:
        """The UID of the dashboard with this name."""
        return f"{self.prefix}-{name}"

    def runbook(self, slug: str) -> str:
        """The address of a runbook, "" if unknown; `slug` may be one of Grafana's variables."""
        return f"{self.handbook}/runbooks/{slug}.md" if self.handbook else ""
