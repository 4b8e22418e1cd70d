"""Event performance: who takes part, who gets what, how long it takes, what is left."""

from __future__ import annotations

from monitoring import alerts
from monitoring.dashboards import rewards
from monitoring.dashboards.board import Dashboard
from monitoring.dashboards.panels import (
    BAD,
    Json,
    Panel,
    Query,
    bars,
    column,
    lines,
    organize,
    sorted_by,
    stat,
    steps,
    table,
)
from monitoring.dashboards.users import EVENTS, SERVICE, SINCE, event_variable

ALL = ("approved", "pending", "rejected")


def _requests(*statuses: str, by: str = " by (event_id)") -> str:
    """Requests of running events, from the database; every replica tells the same."""
    which = EVENTS.replace("}", f',status=~"{"|".join(statuses)}"}}')
    return f"sum{by} (max by (event_id, status) (event_reward_requests{which}))"


def _now() -> list[Panel]:
    return [
        stat(
            "Running events",
            "Events that are active, from the database.",
            Query(f"max(events_active{SERVICE})", "events", instant=True),
            no_data="nothing from event",
        ),
        stat(
            "Approval rate",
            "Approved of all decided reward requests ever, automatic ones included; 100 % "
            "before the first.",
            Query(f"max(reward_approval_ratio{SERVICE})", "approved", instant=True),
            unit="percentunit",
            no_data="nothing from event",
        ),
        stat(
            "Awaiting a decision",
            "Requests that an operator has to decide on. It should not grow from day to day.",
            Query(f"max(reward_requests_awaiting_decision{SERVICE})", "requests", instant=True),
            no_data="nothing from event",
        ),
        stat(
            "Stock work undone",
            "Requests whose stock is still to be moved. Above "
            f"{alerts.PENDING} somebody is called: ClaimBacklog.",
            Query(f"max(reward_requests_pending{SERVICE})", "requests", instant=True),
            thresholds=steps((alerts.PENDING, BAD)),
            no_data="nothing from event",
        ),
        stat(
            "Oldest stock work",
            "Age of the oldest of these. A crashed process leaves some, another one takes them "
            f"over; above {alerts.PENDING_S} s somebody is called: ClaimBacklog.",
            Query(f"max(reward_requests_oldest_pending_seconds{SERVICE})", "oldest", instant=True),
            unit="s",
            thresholds=steps((alerts.PENDING_S, BAD)),
            no_data="nothing from event",
        ),
        stat(
            "Rewards that do not add up",
            "Granted, pending and left are not the stock. Never other than 0; see the runbook "
            "ClaimInvariant.",
            Query(f"max(claim_invariant_violations{SERVICE})", "rewards", instant=True),
            thresholds=steps((1, BAD)),
            no_data="nothing from event",
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


def _activity() -> list[Panel]:
    # `count_values` makes a label of the hour that each minute of the subquery lies in
    hours = 'count_values("hour", hour(vector(time() - 30)))'
    # 5 s more than a step: what comes between the last scrape of one and the first of the next
    # counts too. Exact, unlike `increase`, which is left for a minute with a restart, as far as
    # it lies in the step: it extrapolates to all that it looks at.
    done = f"activity_total{SERVICE}[65s]"
    each = (
        f"sum by (kind) (max_over_time({done}) - min_over_time({done})"
        f" unless resets({done}) > 0 or increase({done}) * 60 / 65)"
    )
    summed = (
        f"sum by (kind, hour) (sum_over_time(({each} * on () group_left (hour) {hours})"
        "[${__range}:1m]))"
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
            minimum=0,
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


def events() -> Dashboard:
    """How the events do."""
    rows: list[tuple[str, list[Panel]]] = [
        ("Right now", _now()),
        ("By event", _events()),
        ("Reward requests", rewards.claims()),
        ("Decisions", rewards.decisions()),
        ("Stock", rewards.stock()),
        ("Activity", _activity()),
        ("Attempts", rewards.attempts()),
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
