"""Event performance: who takes part, who gets what, how long it takes, what is left."""

from __future__ import annotations

from tools import alerts
from tools.dashboards.board import Dashboard
from tools.dashboards.panels import (
    BAD,
    WARN,
    Json,
    Panel,
    Query,
    bars,
    column,
    heatmap,
    lines,
    organize,
    sorted_by,
    stat,
    steps,
    table,
)
from tools.dashboards.users import EVENTS, SERVICE, SINCE, event_variable

PACE = "30m"  # over which the run-out of stock is foreseen
ALL = ("approved", "pending", "rejected")


def _requests(*statuses: str, by: str = " by (event_id)") -> str:
    """Requests of running events, from the database; every replica tells the same."""
    which = EVENTS.replace("}", f',status=~"{"|".join(statuses)}"}}')
    return f"sum{by} (max by (event_id, status) (event_reward_requests{which}))"


def _by_outcome(metric: str, label: str = "outcome", which: str = SERVICE) -> Query:
    expr = f"sum by ({label}) (increase({metric}{which}[$__range]))"
    return Query(expr, f"{{{{{label}}}}}", instant=True)


def _now() -> list[Panel]:
    return [
        stat(
            "Running events",
            "Events that are active, from the database.",
            Query(f"max(events_active{SERVICE})", "events"),
            no_data="not read yet",
        ),
        stat(
            "Approval rate",
            "Approved of all decided reward requests ever, automatic ones included; 100 % "
            "before the first.",
            Query(f"max(reward_approval_ratio{SERVICE})", "approved"),
            unit="percentunit",
            no_data="not read yet",
        ),
        stat(
            "Awaiting a decision",
            "Requests that an operator has to decide on. It should not grow from day to day.",
            Query(f"max(reward_requests_awaiting_decision{SERVICE})", "requests"),
            no_data="not read yet",
        ),
        stat(
            "Stock work undone",
            "Requests whose stock is still to be moved. Above "
            f"{alerts.PENDING} somebody is called: ClaimBacklog.",
            Query(f"max(reward_requests_pending{SERVICE})", "requests"),
            thresholds=steps((alerts.PENDING, BAD)),
            no_data="not read yet",
        ),
        stat(
            "Oldest stock work",
            "Age of the oldest of these. A crashed process leaves some, another one takes them "
            f"over; above {alerts.PENDING_S} s somebody is called: ClaimBacklog.",
            Query(f"max(reward_requests_oldest_pending_seconds{SERVICE})", "oldest"),
            unit="s",
            thresholds=steps((alerts.PENDING_S, BAD)),
            no_data="not read yet",
        ),
        stat(
            "Rewards that do not add up",
            "Granted, pending and left are not the stock. Never other than 0; see the runbook "
            "ClaimInvariant.",
            Query(f"max(claim_invariant_violations{SERVICE})", "rewards"),
            thresholds=steps((1, BAD)),
            no_data="not read yet",
        ),
    ]


def _events() -> list[Panel]:
    def asked(expr: str) -> Query:
        return Query(expr, instant=True, format="table")

    everybody = f"max by (event_id) (event_participants{EVENTS})"
    decided = f"({_requests('approved', 'rejected')} > 0)"
    return [
        table(
            "Events",
            "Running events, 100 at most. Asked counts reward requests: a user may ask once for "
            "each reward of an event. Few who ask: conditions are hard or rewards dull.",
            asked(everybody),
            asked(f"max by (event_id) (event_participation_rate{EVENTS})"),
            asked(_requests(*ALL)),
            asked(_requests("approved")),
            asked(f"{_requests('approved')} / {decided}"),
            transformations=[
                {"id": "merge", "options": {}},
                organize(
                    {
                        "event_id": "Event",
                        "Value #A": "Participants",
                        "Value #B": "Share of members",
                        "Value #C": "Asked",
                        "Value #D": "Granted",
                        "Value #E": "Approval rate",
                    }
                ),
            ],
            overrides=[
                column("Share of members", unit="percentunit", decimals=1),
                column("Approval rate", unit="percentunit", decimals=1),
            ],
            no_data="no running event",
            size=(14, 8),
        ),
        bars(
            "Claim funnel",
            "Of the chosen running events: who joined, what was asked, what was granted. With "
            "several rewards by event there can be more requests than participants.",
            Query(f"sum({everybody})", "joined", instant=True),
            Query(_requests(*ALL, by=""), "asked", instant=True),
            Query(_requests("approved", by=""), "granted", instant=True),
            no_data="no running event",
            size=(10, 8),
        ),
        lines(
            "Participants",
            "Who takes part in running events, the ten biggest.",
            Query(f"topk(10, {everybody})", "{{event_id}}"),
            no_data="no running event",
        ),
        lines(
            "Approval rate by event",
            "Approved of the decided requests of running events, the ten lowest. A fall: "
            "operators reject more; look at the reasons below.",
            Query(f"bottomk(10, {_requests('approved')} / {decided})", "{{event_id}}"),
            unit="percentunit",
            maximum=1,
            no_data="nothing decided yet",
        ),
    ]


def _claims() -> list[Panel]:
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
            overrides=[
                {
                    "matcher": {"id": "byName", "options": "technical"},
                    "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": BAD}}],
                }
            ],
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


def _decisions() -> list[Panel]:
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


def _stock() -> list[Panel]:
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


def _activity() -> list[Panel]:
    # `count_values` makes a label of the hour that each step of the subquery lies in
    hours = 'count_values("hour", hour())'
    each = f"sum by (kind) (increase(activity_total{SERVICE}[5m]))"
    summed = (
        f"sum by (kind, hour) (sum_over_time(({each} * on () group_left (hour) {hours})"
        "[$__range:5m]))"
    )
    return [
        table(
            "Activity by hour of day",
            f"{SINCE} Columns are hours in UTC, dark is much. Choose whole days or weeks above; "
            "plan roll-outs where it is light.",
            Query(
                f'label_replace({summed}, "hour", "0$1", "hour", "(.)")',
                instant=True,
                format="table",
            ),
            transformations=[
                sorted_by("hour"),
                {
                    "id": "groupingToMatrix",
                    "options": {
                        "columnField": "hour", "rowField": "kind", "valueField": "Value",
                        "emptyValue": "zero",
                    },
                },
                organize({"kind\\hour": "Activity"}, hide=()),
            ],
            custom={"cellOptions": {"type": "color-background", "mode": "basic"}, "minWidth": 44},
            overrides=[
                column(
                    "Activity",
                    custom__cellOptions={"type": "auto"},
                    custom__width=130,
                )
            ],
            colour="continuous-blues",
            decimals=0,
            no_data="nothing done yet",
            size=(24, 8),
        ),
        lines(
            "Activity per minute",
            "What users and operators do, by kind.",
            Query(
                f"sum by (kind) (rate(activity_total{SERVICE}[$__rate_interval])) * 60", "{{kind}}"
            ),
            size=(24, 8),
        ),
    ]  # fmt: skip


def _attempts() -> list[Panel]:
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


def events() -> Dashboard:
    """How the events do."""
    rows: list[tuple[str, list[Panel]]] = [
        ("Right now", _now()),
        ("By event", _events()),
        ("Reward requests", _claims()),
        ("Decisions", _decisions()),
        ("Stock", _stock()),
        ("Activity", _activity()),
        ("Attempts", _attempts()),
    ]
    variables: list[Json] = [event_variable()]
    return Dashboard(
        uid="er-events",
        title="Event performance",
        why="Who takes part, who gets what, how long it takes, and what is left.",
        since="now-24h",
        rows=rows,
        variables=variables,
    )
