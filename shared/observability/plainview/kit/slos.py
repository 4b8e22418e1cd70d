"""Objectives and error budgets of any observed service, from the recorded series."""

from __future__ import annotations

from .board import Dashboard, Row
from .config import Kit, Windows
from .panels import BAD, GOOD, WARN, Panel, Query, by, lines, stat, steps
from .promql import SERVICE

EACH = "service, slo"
LEFT = by(EACH, f"1 - service:slo_burn:rate30d{SERVICE}")


def _burn(windows: Windows, who: str) -> Panel:
    long, short, factor, for_ = windows
    return lines(
        f"Burn rate over {long} and {short}",
        f"How many times faster than allowed the budget is spent. Both windows above {factor:g} "
        f"for {for_}: {who}. Above 1 the budget does not last 30 days.",
        *(by(EACH, f"service:slo_burn:rate{each}{SERVICE}", each) for each in (long, short)),
        thresholds=steps((factor, BAD)),
        no_data="no request in this time",
    )


def _budget(kit: Kit) -> list[Panel]:
    says = "; ".join(f"{slo.name}: {slo.objective:.3%} are {slo.summary}" for slo in kit.slos)
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
            LEFT,
            unit="percentunit",
            thresholds=steps((0, WARN), (0.25, GOOD), base=BAD),
            no_data="no request yet",
            size=(18, 8),
        ),
        lines(
            "Budget left over time",
            "A step down is an incident, a slope is a fault that nobody was called for.",
            LEFT,
            unit="percentunit",
            maximum=1,
        ),
        lines(
            "Requests that spend the budget",
            "Requests a second that were not good, over five minutes.",
            by(EACH, f"service:slo_bad:rate5m{SERVICE}"),
            unit="reqps",
        ),
    ]


def slos(kit: Kit) -> Dashboard:
    """The dashboard: whether objectives are met, and how fast error budgets are used up."""
    page = [_burn(windows, "somebody is called") for windows in kit.thresholds.page]
    ticket = [_burn(windows, "a ticket by e-mail") for windows in kit.thresholds.ticket]
    return Dashboard(
        kit,
        "slos",
        title="SLOs and error budgets",
        why="Are the promises kept, how much may still go wrong, how fast is it going wrong?",
        since="now-6h",
        refresh="1m",
        rows=[Row("Budget", _budget(kit)), Row("Fast burn", page), Row("Slow burn", ticket)],
    )
