"""Objectives and error budgets of any observed service, from the recorded series."""

from .board import Dashboard, Row
from .config import Kit, Windows
from .panels import BAD, PLAIN, WARN, Panel, by, column, lines, merged, sorted_by, text_by_steps
from .promql import SERVICE

EACH = "service, slo"
# Of 30 days at the traffic so far: a young stack has spent little of it, however bad its start.
SPENT = f"service:slo_burn:rate30d{SERVICE} * service:slo_seen:ratio30d{SERVICE}"
LEFT = f"1 - {SPENT}"


def _burn(windows: Windows, who: str, size: tuple[int, int] | None = None) -> Panel:
    long, short, factor, for_ = windows
    slower, faster = (f"service:slo_burn:rate{each}{SERVICE}" for each in (long, short))
    return lines(
        f"Burn rate over {long} and {short}",
        "How many times faster than allowed the budget is spent, the lower of both windows. Above "
        f"the line for {for_}: {who}. Above 1 the budget does not last 30 days.",
        by(EACH, f"max by ({EACH}) ({slower} < {faster} or {faster})"),
        bad=factor, no_data="no request in this time", size=size,
    )  # fmt: skip


def _now(kit: Kit) -> Panel:
    says = "; ".join(f"{slo.name}: {slo.objective:.3%} are {slo.summary}" for slo in kit.slos)
    share = {"unit": "percentunit", "decimals": 2, "width": 120}
    good = f"1 - service:slo_bad:rate30d{SERVICE} / (service:slo_requests:rate30d{SERVICE} > 0)"
    objective = (
        f"max by ({EACH}) (service:slo_burn:rate30d{SERVICE}) * 0 + on (slo) group_left ()"
        " max by (slo) (slo:objective:ratio)"
    )
    window, _, factor, _ = kit.thresholds.page[0]
    left = text_by_steps((0, WARN), (0.25, PLAIN), base=BAD)
    burn = text_by_steps((1, WARN), (factor, BAD), base=PLAIN)
    return merged(
        "Promises of the last 30 days",
        f"{says}. Budget left: of the errors allowed in 30 days at the traffic so far. At 0 the "
        "promise is broken: nothing risky is released until it grows again. Burn rate: above 1 "
        "the budget does not last 30 days.",
        {"service": "Service", "slo": "Promise"},
        {
            "Objective": (objective, share),
            "Kept": (f"max by ({EACH}) ({good})", share),
            "Budget left": (
                f"max by ({EACH}) ({LEFT})",
                {**left, "width": 150, "unit": "percentunit", "decimals": 1},
            ),
            f"Burn rate, {window}": (
                f"max by ({EACH}) (service:slo_burn:rate{window}{SERVICE})",
                {**burn, "width": 150, "decimals": 1},
            ),
        },
        transformations=[sorted_by("Budget left")],
        overrides=[column("Service", width=140)],
        size=(24, 9),
    )


def slos(kit: Kit) -> Dashboard:
    """The dashboard: whether objectives are met, and how fast error budgets are used up."""
    fast, *page = kit.thresholds.page
    left_over_time = lines(
        "Budget left over time",
        "A step down is an incident, a slope is a fault that nobody was called for. Below "
        "0 the promise is broken.",
        by(EACH, LEFT), unit="percentunit", bad=0, maximum=1, signed=True,
        no_data="no request in this time", size=(12, 10),
    )  # fmt: skip
    slower = [
        *(_burn(windows, "somebody is called") for windows in page),
        *(_burn(windows, "a ticket by e-mail") for windows in kit.thresholds.ticket),
    ]
    spending = lines(
        "Requests that spend the budget",
        "Requests a second that were not good, over five minutes.",
        by(EACH, f"service:slo_bad:rate5m{SERVICE}"), unit="reqps",
    )  # fmt: skip
    return Dashboard(
        kit,
        "slos",
        title="SLOs and error budgets",
        why="Are the promises kept, how much may still go wrong, how fast is it going wrong?",
        since="now-24h",
        refresh="1m",
        first=[_now(kit), left_over_time, _burn(fast, "somebody is called", (12, 10))],
        rows=[
            Row("Slower burn", slower, (8, 8)),
            Row("What spends the budget", [spending], (24, 8)),
        ],
    )
