"""A kit for any observed service, as a folder of files: `write()`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from plainview.catalogue import Alert, Catalogue, Slo
from plainview.signals import LIBRARY_METRICS

from . import names, pages
from .alerts import generic_alerts
from .config import Kit, Part, Thresholds
from .documents import RUNBOOKS, Documents, labels
from .folder import Outcome, update
from .logs import logs_and_traces
from .overview import overview
from .slos import slos as slo_board
from .system import system
from .telemetry import telemetry

USUAL_PARTS: tuple[Part, ...] = ("loki",)
# Names of the jobs of the programs around, in Prometheus.
JOBS = ("prometheus", "grafana", "jaeger")
JOBS_OF: dict[Part, tuple[str, ...]] = {"collector": ("collector",), "loki": ("loki", "alloy")}


def write(
    directory: str | Path,
    *,
    service: str | Sequence[str],
    slos: Iterable[Slo] = (),
    alerts: Iterable[Alert] = (),
    catalogues: Iterable[Catalogue] = (),
    parts: Iterable[Part] = USUAL_PARTS,
    without: Iterable[str] = (),
    runbooks: str = "",
    grafana: str = "http://localhost:3000",
    datasource: str = "prometheus",
    thresholds: Thresholds | None = None,
    force: bool = False,
    dry: bool = False,
) -> Outcome:
    """Write dashboards, rules, alerts and runbooks of a service, or several, into a folder.

    `slos` and `alerts`, and those of `catalogues`, are added; one with the name of a usual one
    takes its place. `parts` says what there is besides the service, `without` which of
    the usual alerts are left out. `runbooks` is the URL where
    people will read the written pages, `grafana` that of Grafana, `datasource` the UID of
    Prometheus there. With `dry` nothing is written.

    ValueError if a declaration cannot work, `folder.NotOurs` if somebody else's files are in the
    way, OSError if a file cannot be written, ImportError without `plainview[kit]`.
    """
    catalogues = list(catalogues)
    kit = _kit(
        [service] if isinstance(service, str) else service,
        [*(slo for each in catalogues for slo in each.slos), *slos],
        Kit(
            services=(),
            parts=frozenset(parts),
            without=frozenset(without),
            handbook=runbooks.rstrip("/"),
            grafana=grafana.rstrip("/"),
            datasource=datasource,
            thresholds=thresholds or Thresholds(),
        ),
    )
    own = [*(alert for each in catalogues for alert in each.alerts), *alerts]
    _check_alerts(own)
    documents = _documents(kit, own, catalogues)
    books = pages.runbooks(documents.every_alert)
    files = {
        **documents.files(),
        **books,
        Path("alerts.md"): pages.alerts_page(documents),
        Path("README.md"): pages.readme(documents, _jobs(kit)),
    }
    outcome = update(Path(directory), files, books.keys(), force=force, dry=dry)
    outcome.notes = _notes(documents) if catalogues else []
    outcome.notes += [
        f"{RUNBOOKS / alert.runbook}.md of your own alert {alert.name} is yours to fill in"
        for alert in own
        if RUNBOOKS / f"{alert.runbook}.md" in outcome.written
    ]
    return outcome


def _kit(services: Sequence[str], slos: Sequence[Slo], base: Kit) -> Kit:
    if not services:
        raise ValueError("a kit is of at least one service")
    for service in services:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", service, re.ASCII):
            raise ValueError(f"service {service!r}: use letters, digits, '-', '_' and '.'")
    if unknown := base.parts - frozenset(get_args(Part)):
        known = ", ".join(get_args(Part))
        raise ValueError(f"no such part: {', '.join(sorted(unknown))}; there are {known}")
    for slo in slos:
        _check_objective(slo)
    if twice := [name for name, n in Counter(slo.name for slo in slos).items() if n > 1]:
        raise ValueError(f"objective {twice[0]} is declared twice")
    slug = re.sub(r"[^a-z0-9]+", "-", services[0].lower()).strip("-")[:24]
    return replace(
        base,
        services=tuple(dict.fromkeys(services)),
        prefix=slug,
        tag=slug,
        rule_prefix=f"{slug}-",
        objectives=tuple(slos),
        around=f'job=~"{"|".join(_jobs(base))}"',
    )


def _check_objective(slo: Slo) -> None:
    if not 0 < slo.objective < 1:
        raise ValueError(f"objective {slo.name}: {slo.objective} is not between 0 and 1")
    if not re.fullmatch(r"[A-Za-z_][\w-]*", slo.name, re.ASCII):
        raise ValueError(f"objective {slo.name!r}: use letters, digits, '-' and '_'")
    for selector in (slo.good, slo.total):
        if not re.fullmatch(r"[a-zA-Z_:][\w:]*(\{[^}]*\})?", selector, re.ASCII):
            raise ValueError(
                f"objective {slo.name}: {selector!r} is not the selector of a counter, such as"
                ' orders_total{outcome="paid"}; the kit puts rate() around it'
            )


def _check_alerts(alerts: Sequence[Alert]) -> None:
    for alert in alerts:
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", alert.name):
            raise ValueError(f"alert {alert.name!r}: write its name as RewardStockLow")
        if not re.fullmatch(r"(\d+(ms|[smhdwy]))+", alert.for_):
            raise ValueError(f"alert {alert.name}: for_={alert.for_!r} is no duration such as 5m")
    keys = Counter((alert.name, *sorted(labels(alert).items())) for alert in alerts)
    if twice := [name for (name, *_), n in keys.items() if n > 1]:
        raise ValueError(f"alert {twice[0]} is declared twice with the same labels")


def _documents(kit: Kit, own: list[Alert], catalogues: Sequence[Catalogue]) -> Documents:
    named = {alert.name for alert in own}
    every = {alert.name for alert in generic_alerts(replace(kit, without=frozenset()))}
    if unknown := kit.without - every:
        known = ", ".join(sorted(every))
        raise ValueError(f"no usual alert {', '.join(sorted(unknown))}; there are {known}")
    usual = [alert for alert in generic_alerts(kit) if alert.name not in named]
    logs = [logs_and_traces(kit)] if "loki" in kit.parts else []
    first = overview(kit, [*usual, *own])
    made = (first, system(kit), slo_board(kit), *logs, telemetry(kit))
    boards = {board.name: board for board in made}
    for alert in own:
        for name in alert.dashboards[:1]:
            if name not in boards:
                known = ", ".join(boards)
                raise ValueError(f"alert {alert.name}: no dashboard {name}; there are {known}")
            titles = {"", *(panel.title for panel in boards[name].panels())}
            if alert.panel not in titles:
                raise ValueError(f"alert {alert.name}: {name} has no panel {alert.panel!r}")
    return Documents(
        kit=kit,
        boards=boards,
        alerts={kit.prefix: usual, **({f"{kit.prefix}-own": own} if own else {})},
        known=names.known(kit, [LIBRARY_METRICS, *catalogues]),
        folder=f"{kit.prefix} alerts",
        origin=f"Written by `plainview kit` for {', '.join(kit.services)}.",
    )


def _jobs(kit: Kit) -> tuple[str, ...]:
    return (*JOBS, *(job for part, jobs in JOBS_OF.items() if part in kit.parts for job in jobs))


def _notes(documents: Documents) -> list[str]:
    """Metrics in alerts and objectives that no catalogue declares, each with who reads it."""
    readers: dict[str, str] = {}
    for where, missing in documents.unknown().items():
        for metric in sorted(missing):
            readers.setdefault(metric, where)
    return [
        f"{metric} is declared by no catalogue, {where} reads it: a typo, or another program's?"
        for metric, where in readers.items()
    ]
