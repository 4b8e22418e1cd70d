"""What becomes of reward requests, how long it takes and what is left: rows of the dashboard."""

from __future__ import annotations

from monitoring.dashboards.panels import (
    BAD,
    WARN,
    Panel,
    Query,
    bars,
    coloured,
    column,
    heatmap,
    lines,
    organize,
    sorted_by,
    stat,
    steps,
    table,
)
from monitoring.dashboards.users import EVENTS, SERVICE, SINCE

PACE = "30m"  # over which the run-out of stock is foreseen


def _by_outcome(metric: str, label: str = "outcome", which: str = SERVICE) -> Query:
    expr = f"sum by ({label}) (increase({metric}{which}[$__range]))"
    return Query(expr, f"{{{{{label}}}}}", instant=True)


def claims() -> list[Panel]:
    """Requests by status and reason."""
    refused = SERVICE.replace("}", ',status=~"refused|rejected"}')
    return [
        bars(
            "Requests by status",
            f"{SINCE} Refused got nothing and is not stored; approved and rejected include "
            "decisions on older requests.",
            _by_outcome("reward_requests_total", "status"),
            decimals=0,
            size=(8, 8),
        ),
        bars(
            "Rejections by reason",
            f"{SINCE} Technical is our fault, see the runbook ClaimRejections; operator was a "
            "person's decision; sold_out and condition_unmet are normal.",
            _by_outcome("reward_requests_total", "reason", refused),
            overrides=[coloured("technical", BAD)],
            decimals=0,
            size=(8, 8),
        ),
        lines(
            "Requests per second",
            "Reward requests and decisions by status. A peak of refused right after a start: "
            "the stock was gone at once.",
            Query(
                f"sum by (status) (rate(reward_requests_total{SERVICE}[$__rate_interval]))",
                "{{status}}",
            ),
            unit="reqps",
            size=(8, 8),
        ),
    ]


def decisions() -> list[Panel]:
    """How long users wait for an operator."""
    buckets = f"sum by (le) (increase(reward_decision_duration_seconds_bucket{SERVICE}[%s]))"
    return [
        *(
            stat(
                f"Time to decision, {name}",
                f"{SINCE} From a request to an operator's decision; automatic ones take "
                "milliseconds and are left out.",
                Query(
                    f"histogram_quantile({share}, {buckets % '$__range'}) >= 0",
                    name,
                    instant=True,
                ),
                unit="s",
                no_data="nothing decided in this time",
                size=(4, 8),
            )
            for name, share in (("median", 0.5), ("95 of 100", 0.95))
        ),
        heatmap(
            "Time to decision",
            "Decisions of operators by how long the user had waited. Dark cells that rise: "
            "operators fall behind.",
            Query(buckets % "$__rate_interval", "{{le}}", format="heatmap"),
            no_data="nothing decided in this time",
            size=(16, 8),
        ),
    ]


def stock() -> list[Panel]:
    """What is left, and for how long."""
    left = f"max by (event_id, reward_id) (reward_stock_left{EVENTS})"
    pace = f"max by (event_id, reward_id) (-deriv(reward_stock_left{EVENTS}[{PACE}]))"
    return [
        table(
            "Stock",
            "What is left of the rewards of running events, and when it ends at the pace of the "
            f"last {PACE}; no time when it does not fall. At 0: StockExhausted.",
            Query(left, instant=True, format="table"),
            Query(f"({left} > 0) / ({pace} > 0)", instant=True, format="table"),
            transformations=[
                {"id": "merge", "options": {}},
                organize(
                    {
                        "event_id": "Event", "reward_id": "Reward", "Value #A": "Left",
                        "Value #B": "Runs out in",
                    }
                ),
                sorted_by("Left"),
            ],
            overrides=[
                column("Runs out in", unit="s", decimals=1),
                column(
                    "Left",
                    thresholds=steps((1, "text"), base=WARN),
                    color={"mode": "thresholds"},
                    custom__cellOptions={"type": "color-text"},
                ),
            ],
            no_data="no reward of a running event",
        ),
        lines(
            "Stock left",
            "The ten rewards of running events with the least left.",
            Query(f"bottomk(10, {left})", "{{reward_id}}"),
            no_data="no reward of a running event",
        ),
    ]  # fmt: skip


def attempts() -> list[Panel]:
    """What clients try, and what had to be put right."""
    return [
        bars(
            "Attempts to take part",
            f"{SINCE} Repeated: was in already; refused: the event is not active.",
            _by_outcome("event_participations_total"),
            decimals=0,
            size=(8, 7),
        ),
        bars(
            "Idempotency keys",
            f"{SINCE} Replayed: a client asked again and got its first answer; mismatch: a key "
            "used for something else, a client's fault.",
            _by_outcome("idempotency_total"),
            decimals=0,
            size=(8, 7),
        ),
        bars(
            "Left-over work put right",
            f"{SINCE} Claims that a crash or a lost reply had left half done, and what became "
            "of them. Many: look for restarts and slow databases.",
            _by_outcome("claims_recovered_total"),
            decimals=0,
            size=(8, 7),
        ),
    ]
