"""Objectives and error budgets of any observed service, from the recorded series."""

from __future__ import annotations

from monitoring import alerts
from monitoring.dashboards.board import SERVICES, Dashboard
from monitoring.dashboards.panels import BAD, GOOD, WARN, Panel, Query, lines, stat, steps

SERVICE = f"{{{SERVICES}}}"
LEGEND = "{{service}} {{slo}}"
LEFT = f"1 - service:slo_burn:rate30d{SERVICE}"


def _burn(windows: tuple[str, str, float, str], who: str) -> Panel:
    long, short, factor, for_ = windows
    return lines(
        f"Burn rate over {long} and {short}",
        f"How many times faster than allowed the budget is spent. Both windows above {factor:g} "
        f"for {for_}: {who}. Above 1 the budget does not last 30 days.",
        *(
            Query(f"service:slo_burn:rate{window}{SERVICE}", f"{LEGEND} {window}")
            for window in (long, short)
        ),
        thresholds=steps((factor, BAD)),
        no_data="no request in this time",
        size=(12, 8),
    )


def _budget() -> list[Panel]:
    says = "; ".join(f"{slo.name}: {slo.objective:.3%} are {slo.summary}" for slo in alerts.SLOS)
    return [
        stat(
            "Objectives",
            f"What is promised over 30 days. {says}.",
            Query("max by (slo) (slo:objective:ratio)", "{{slo}}"),
            unit="percentunit",
            decimals=2,
            size=(6, 8),
        ),
        stat(
            "Error budget left, 30 days",
            "Share of the errors allowed in 30 days that is still to be had. At 0 the objective is "
            "missed: nothing risky is released until it grows again. A young stack has only seen "
            "its own life; before it counts as no traffic.",
            Query(LEFT, LEGEND),
            unit="percentunit",
            thresholds=steps((0, WARN), (0.25, GOOD), base=BAD),
            no_data="no request yet",
            size=(18, 8),
        ),
        lines(
            "Budget left over time",
            "A step down is an incident, a slope is a fault that nobody was called for.",
            Query(LEFT, LEGEND),
            unit="percentunit",
            maximum=1,
            size=(12, 8),
        ),
        lines(
            "Requests that spend the budget",
            "Requests a second that were not good, over five minutes.",
            Query(f"service:slo_bad:rate5m{SERVICE}", LEGEND),
            unit="reqps",
            size=(12, 8),
        ),
    ]


def slos() -> Dashboard:
    """Whether promises are kept, and how fast they are being broken."""
    page = [_burn(windows, "somebody is called") for windows in alerts.PAGE]
    ticket = [_burn(windows, "a ticket by e-mail") for windows in alerts.TICKET]
    return Dashboard(
        uid="er-slos",
        title="SLOs and error budgets",
        why="Are the promises kept, how much may still go wrong, how fast is it going wrong?",
        since="now-6h",
        refresh="1m",
        rows=[("Budget", _budget()), ("Fast burn", page), ("Slow burn", ticket)],
    )
