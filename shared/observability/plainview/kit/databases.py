"""Databases as the services see them: the same panels and alerts for every system."""

from dataclasses import dataclass

from plainview.catalogue import Alert

from .config import Kit, Part, Thresholds
from .panels import PER_SECOND, Panel, by, lines
from .promql import SERVICE, Causes, either, quantile, rate, where

# Kinds of failed commands; duplicate_key and rejected are normal answers of a database.
FAILURES = 'error_type=~"timeout|unavailable|other"'
# Commands that wait for new data are slow on purpose.
_AT_ONCE = 'db_operation_name!~".*_BLOCK"'
_USED = 'state="used"'
POOL = (  # the share of its pool that is in use, of each replica
    f"(db_client_connections{where(_USED)} / ignoring (state)"
    f" (db_client_connections_max{SERVICE} > 0))"
)


@dataclass(frozen=True)
class System:
    """One database, or several of a kind."""

    part: Part
    title: str  # in titles of panels
    called: str  # in summaries of alerts
    alert: str  # the beginning of its alerts' names
    matcher: str  # selects its series
    labels: str = "service"  # what its series are told apart by
    pooled: bool = True  # whether the connections of its pool are measured

    @property
    def slow(self) -> str:
        """The name of the alert about its latency and its pool."""
        return f"{self.alert}Slow"


MONGODB = System("mongodb", "MongoDB", "MongoDB", "Mongo", 'db_system_name="mongodb"')
REDIS = System("redis", "Redis", "Redis", "Redis", 'db_system_name="redis"', pooled=False)
SQL = System(
    "sqlalchemy", "SQL databases", "{{ $labels.db_system_name }}", "Sql",
    'db_system_name!~"mongodb|redis"', labels="service, db_system_name",
)  # fmt: skip


def systems(kit: Kit) -> list[System]:
    """Those that are parts of this installation."""
    return [each for each in (MONGODB, REDIS, SQL) if each.part in kit.parts]


def _durations(kit: Kit, system: System) -> Panel:
    p95 = quantile(
        0.95, "db_client_operation_duration_seconds", system.labels, where(system.matcher, _AT_ONCE)
    )
    told = system.slow not in kit.without
    return lines(
        f"{system.title}, 95 of 100",
        "Duration of commands as the service sees it, by service."
        + (f" Above the line {system.slow}." if told else ""),
        by(system.labels, p95, exemplars=True),
        unit="s", warn=kit.thresholds.db_slow_s if told else None,
    )  # fmt: skip


def _pools(kit: Kit, pooled: list[System]) -> Panel:
    each, names = "service, db_system_name", " or ".join(system.slow for system in pooled)
    return lines(
        "Connections used, of the pool",
        f"A full pool makes requests wait, then fail with 503. Above the line {names}.",
        by(each, f"max by ({each}) {POOL}"), unit="percentunit", warn=kit.thresholds.pool_ratio,
    )  # fmt: skip


def _failures() -> Panel:
    kinds, refused = "db_system_name, error_type", "db_client_connection_failures_total"
    failed = rate("db_client_operation_failures_total", kinds, where(FAILURES))
    return lines(
        "Failures of databases",
        "Commands that failed, the ten kinds with most, and connections that could not be made "
        "or had, a second. "
        "The database's normal answers (duplicate key, rejected) are left out.",
        by(kinds, f"topk(10, {failed})"),
        by("db_system_name", rate(refused, "db_system_name"), "connections"),
        unit=PER_SECOND,
    )


def panels(kit: Kit) -> list[Panel]:
    """Durations of each system, then pools and failures of all; none without a database."""
    found = systems(kit)
    pooled = [system for system in found if system.pooled]
    return [
        *(_durations(kit, system) for system in found),
        *([_pools(kit, pooled)] if pooled else []),
        *([_failures()] if found else []),
    ]


def failing_commands(t: Thresholds, system: System) -> Causes:
    """The share of commands that fail, or that no connection can be made, by the system's labels.

    A service with fewer commands than the floor says nothing about a share.
    """
    which, each = system.matcher, f"sum by ({system.labels})"
    every = f"{each} (rate(db_client_operation_duration_seconds_count{{{which}}}[1m]))"
    failed = f"{each} (rate(db_client_operation_failures_total{{{which},{FAILURES}}}[1m]))"
    share = f"({failed} / ({every} > {t.floor_rps}) > {t.db_failure_ratio})"
    refused = f"{each} (rate(db_client_connection_failures_total{{{which}}}[30s]))"
    return [
        (f"100 * {share}", "% of its commands fail"),
        (f"{refused} > {t.connection_failures}", "connections a second cannot be made"),
    ]


def _slowness(t: Thresholds, system: System) -> Causes:
    buckets = f"db_client_operation_duration_seconds_bucket{{{system.matcher},{_AT_ONCE}}}"
    p95 = f"histogram_quantile(0.95, sum by (le, {system.labels}) (rate({buckets}[5m])))"
    pool = (
        f'max by ({system.labels}) (db_client_connections{{{system.matcher},state="used"}}'
        f" / ignoring (state) (db_client_connections_max{{{system.matcher}}} > 0))"
    )
    full = (f"100 * ({pool} > {t.pool_ratio})", "% of its connections are in use")
    slow = (f"1000 * ({p95} > {t.db_slow_s})", "ms or more for 5 % of its commands")
    return [slow, full] if system.pooled else [slow]


def alerts(kit: Kit) -> list[Alert]:
    """Two alerts of each system, from the services' commands.

    An exporter can be down while its database is well, so none is asked.
    """
    t = kit.thresholds
    return [
        alert
        for system in systems(kit)
        for alert in (
            Alert(
                f"{system.alert}Failures", either(failing_commands(t, system)),
                f"{{{{ $labels.service }}}} cannot use {system.called}: "
                "{value:%.3g} {{ $labels.cause }}",
                for_="1m", severity="critical",
                dashboards=("system",), panel="Failures of databases",
            ),
            Alert(
                system.slow, either(_slowness(t, system)),
                f"{{{{ $labels.service }}}}: {system.called} is slow: "
                "{value:%.3g} {{ $labels.cause }}",
                dashboards=("system",), panel=f"{system.title}, 95 of 100",
            ),
        )
    ]  # fmt: skip
