"""What becomes of reward requests, how long it takes and what is left: rows of the dashboard."""

from typing import Any

from monitoring.titles import five, titled
from plainview.kit import Row
from plainview.kit.board import query_variable
from plainview.kit.panels import (
    BAD,
    GOOD,
    WARN,
    Json,
    Panel,
    Query,
    bars,
    by,
    coloured,
    column,
    heatmap,
    lines,
    merged,
    sorted_by,
    stat,
    text_by_steps,
)
from plainview.kit.promql import anywhere, growth, highest, rate

SINCE = "Counted by the services that run, within the time shown above."
EVENT_SELECTOR = anywhere('event_id=~"$event"')
PACE = "30m"  # over which the run-out of stock is foreseen
LEFT = highest("reward_stock_left", "event_id, reward_id", EVENT_SELECTOR)


def event_variable() -> Json:
    """The running events, by title."""
    query = f"query_result(max by (event_id, title) (event_info{anywhere()}))"
    regex = '/event_id="(?<value>[^"]+)|title="(?<text>[^"]+)/g'
    return query_variable("event", query, "Event", regex)


def _of_rewards(expr: str) -> str:
    """An expression by `reward_id` with the reward's name, and the title of its event."""
    return titled(titled(expr, "reward_id", "reward"))


def outcomes(
    title: str, why: str, metric: str, label: str = "outcome", *,
    which: str = "", bad: str = "", **changes: Any,
) -> Panel:  # fmt: skip
    """A bar for each value of a counter's label: how often in the time shown; `bad` in red."""
    return bars(
        title, f"{SINCE} {why}", by(label, growth(metric, label, which or anywhere())),
        overrides=[coloured(bad, BAD)] if bad else [], decimals=0, **changes,
    )  # fmt: skip


def by_reason() -> Panel:
    """Why requests got nothing."""
    return outcomes(
        "Rejections by reason",
        "Technical is our fault, see the runbook ClaimRejections; operator was a "
        "person's decision; the others are normal.",
        "reward_requests_total", "reason",
        which=anywhere('status=~"refused|rejected"', 'reason!="none"'), bad="technical",
        no_data="none in this time", size=(9, 7),
    )  # fmt: skip


def per_second() -> Panel:
    """How many requests there are."""
    colours = {"approved": GOOD, "refused": WARN, "rejected": BAD}
    return lines(
        "Reward requests per second",
        "Reward requests and decisions by status. A peak of refused right after a start: "
        "the stock was gone at once.",
        by("status", rate("reward_requests_total", "status", anywhere())),
        overrides=[coloured(status, colour) for status, colour in colours.items()],
        unit="reqps", size=(9, 7),
    )  # fmt: skip


def decisions() -> Row:
    """How long users wait for an operator."""
    buckets = f"reward_decision_duration_seconds_bucket{anywhere()}"
    grown = f"sum by (le) (increase({buckets}[$__range]))"
    panels = [
        *(
            stat(
                f"Time to decision, {name}",
                f"{SINCE} From a request to an operator's decision; automatic ones take "
                "milliseconds and are left out.",
                Query(f"histogram_quantile({share}, {grown}) >= 0", name),
                unit="s", no_data="nothing decided in this time", size=(6, 8),
            )
            for name, share in (("median", 0.5), ("95 of 100", 0.95))
        ),
        heatmap(
            "Time to decision",
            "Decisions of operators by how long the user had waited. Dark cells that rise: "
            "operators fall behind.",
            buckets, no_data="nothing decided in this time", size=(12, 8),
        ),
    ]  # fmt: skip
    return Row("Decisions", panels)


def stock() -> Panel:
    """What is left, and for how long."""
    pace = f"max by (event_id, reward_id) (-deriv(reward_stock_left{EVENT_SELECTOR}[{PACE}]))"
    ends = _of_rewards(f"({LEFT} > 0) / ({pace} > 0)")
    return merged(
        "Stock",
        "What is left of the rewards of running events, and when it ends at the pace of the "
        f"last {PACE}; no time when it does not fall. At 0: StockExhausted.",
        {"reward": "Reward", "title": "Event"},
        {
            "Left": (_of_rewards(LEFT), {**text_by_steps((1, "text"), base=WARN), "width": 70}),
            "Runs out in": (ends, {"unit": "s", "decimals": 1, "width": 105}),
        },
        hide=("event_id", "reward_id"),
        transformations=[sorted_by("Left")],
        overrides=[column("Event", width=150)],
        size=(10, 8),
    )


def stock_over_time() -> Panel:
    """How fast it goes."""
    return lines(
        "Stock left",
        "The five rewards of running events with the least left.",
        Query(_of_rewards(five(LEFT, "bottomk")), "{{reward}}, {{title}}"),
        no_data="no reward of a running event",
    )


def attempts() -> list[Panel]:
    """What became of requests, what clients try, and what had to be put right."""
    return [
        outcomes(
            "Requests by status",
            "Refused got nothing and is not stored; approved and rejected include "
            "decisions on older requests.",
            "reward_requests_total",
            "status",
        ),
        outcomes(
            "Attempts to take part",
            "Repeated: was in already; refused: the event is not active.",
            "event_participations_total",
        ),
        outcomes(
            "Idempotency keys",
            "Replayed: a client asked again and got its first answer; mismatch: a key "
            "used for something else, a client's fault.",
            "idempotency_total",
        ),
        outcomes(
            "Left-over work put right",
            "Claims that a crash or a lost reply had left half done, and what became "
            "of them. Many: look for restarts and slow databases.",
            "claims_recovered_total",
        ),
    ]
