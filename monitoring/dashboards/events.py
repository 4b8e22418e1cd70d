"""Event performance: who takes part, who gets what, how long it takes, what is left."""

from typing import Any

from monitoring.dashboards import rewards
from monitoring.dashboards.rewards import EVENT_SELECTOR, SINCE, event_variable
from monitoring.settings import KIT, PENDING
from monitoring.titles import five, titled
from plainview.kit import Dashboard, Row
from plainview.kit.panels import (
    Json,
    Panel,
    Query,
    bars,
    by,
    cells,
    column,
    lines,
    merged,
    organize,
    sorted_by,
    stat,
    table,
)
from plainview.kit.promql import anywhere, highest, rate
from shared.thresholds import PENDING_S

ALL = ("approved", "pending", "rejected")


def _requests(*statuses: str, each: str = " by (event_id)") -> str:
    """Requests of running events, from the database; every replica tells the same."""
    which = anywhere('event_id=~"$event"', f'status=~"{"|".join(statuses)}"')
    return f"sum{each} ({highest('event_reward_requests', 'event_id, status', which)})"


EVERYBODY = highest("event_participants", "event_id", EVENT_SELECTOR)
GRANTED_SHARE = f"{_requests('approved')} / ({_requests('approved', 'rejected')} > 0)"


def _now() -> list[Panel]:
    def now(title: str, why: str, metric: str, word: str, **changes: Any) -> Panel:
        query = Query(highest(metric, labels=anywhere()), word)
        return stat(title, why, query, no_data="nothing from event", **changes)

    return [
        now(
            "Running events", "Events that are active, from the database.",
            "events_active", "events",
        ),
        now(
            "Approval rate",
            "Approved of all decided reward requests ever, automatic ones included; 100 % "
            "before the first.",
            "reward_approval_ratio", "approved", unit="percentunit",
        ),
        now(
            "Awaiting a decision",
            "Requests that an operator has to decide on. It should not grow from day to day.",
            "reward_requests_awaiting_decision", "requests",
        ),
        now(
            "Stock work undone",
            "Requests whose stock is still to be moved. Above "
            f"{PENDING} somebody is called: ClaimBacklog.",
            "reward_requests_pending", "requests", bad=PENDING,
        ),
        now(
            "Oldest stock work",
            "Age of the oldest of these. A crashed process leaves some, another one takes them "
            f"over; above {PENDING_S} s somebody is called: ClaimBacklog.",
            "reward_requests_oldest_pending_seconds", "oldest", unit="s", bad=PENDING_S,
        ),
        now(
            "Rewards gone wrong",
            "Granted, pending and left are not the stock. Never other than 0; see the runbook "
            "ClaimInvariant.",
            "claim_invariant_violations", "rewards", bad=1,
        ),
    ]  # fmt: skip


def _events() -> Panel:
    share = {"unit": "percentunit", "decimals": 1}
    rates = highest("event_participation_rate", "event_id", EVENT_SELECTOR)
    columns: dict[str, tuple[str, Json]] = {
        "Participants": (EVERYBODY, {"width": 105}),
        "Of all users": (rates, {**share, "width": 100}),
        "Asked": (_requests(*ALL), {"width": 75}),
        "Granted": (_requests("approved"), {"width": 80}),
        "Of decided": (GRANTED_SHARE, {**share, "width": 95}),
    }
    return merged(
        "Events",
        "Running events, 100 at most. Asked counts reward requests: a user may ask once for "
        "each reward of an event. Few who ask: conditions are hard or rewards dull.",
        {"title": "Event"},
        {title: (titled(expr), how) for title, (expr, how) in columns.items()},
        hide=("event_id",),
        transformations=[sorted_by("Participants", descending=True)],
        size=(14, 8),
    )


def _funnel() -> Panel:
    return bars(
        "Claim funnel",
        "Of the chosen running events: who joined, what was asked, what was granted. With "
        "several rewards by event there can be more requests than participants.",
        Query(f"sum({EVERYBODY})", "joined"),
        Query(_requests(*ALL, each=""), "asked"),
        Query(_requests("approved", each=""), "granted"),
        no_data="no running event", size=(6, 7),
    )  # fmt: skip


def _over_time() -> list[Panel]:
    return [
        lines(
            "Participants",
            "Who takes part in running events, the five biggest.",
            by("title", titled(five(EVERYBODY))), no_data="no running event",
        ),
        lines(
            "Approval rate by event",
            "Approved of the decided requests of running events, the five lowest. A fall: "
            "operators reject more; look at the reasons above.",
            by("title", titled(five(GRANTED_SHARE, "bottomk"))),
            unit="percentunit", maximum=1, no_data="nothing decided yet",
        ),
        rewards.stock_over_time(),
    ]  # fmt: skip


def _activity() -> list[Panel]:
    # `count_values` makes a label of the hour that a minute of the subquery belongs to.
    hours = 'count_values("hour", hour(vector(time() - 30)))'
    # 5 s more than a step: what comes between the last scrape of one and the first of the next
    # counts too. Exact, unlike `increase`, which is left for a minute with a restart, as far as
    # it lies in the step: it extrapolates to all that it looks at.
    done = f"activity_total{anywhere()}[65s]"
    each = (
        f"sum by (kind) (max_over_time({done}) - min_over_time({done})"
        f" unless resets({done}) > 0 or increase({done}) * 60 / 65)"
    )
    summed = (
        f"sum by (kind, hour) (sum_over_time(({each} * on () group_left (hour) {hours})"
        "[${__range}:1m]))"
    )
    matrix = {
        "columnField": "hour", "rowField": "kind", "valueField": "Value", "emptyValue": "zero",
    }  # fmt: skip
    return [
        table(
            "Activity by hour of day",
            f"{SINCE} Columns are hours in UTC, dark is much. Choose whole days or weeks above; "
            "plan roll-outs where it is light.",
            *cells(f'label_replace({summed}, "hour", "0$1", "hour", "(.)")'),
            transformations=[
                sorted_by("hour"),
                {"id": "groupingToMatrix", "options": matrix},
                organize({"kind\\hour": "Activity"}, hide=()),
            ],
            custom={"cellOptions": {"type": "color-background", "mode": "basic"}, "minWidth": 44},
            overrides=[column("Activity", cellOptions={"type": "auto"}, width=130)],
            colour="continuous-blues",
            minimum=0,
            decimals=0,
        ),
        lines(
            "Activity per minute",
            "What users and operators do, by kind.",
            by("kind", f"{rate('activity_total', 'kind', anywhere())} * 60"),
        ),
    ]


def events() -> Dashboard:
    """How the events do."""
    return Dashboard(
        KIT,
        "events",
        title="Event performance",
        why="Who takes part, who gets what, how long it takes, and what is left.",
        since="now-24h",
        first=[
            *_now(),
            _events(),
            rewards.stock(),
            _funnel(),
            rewards.by_reason(),
            rewards.per_second(),
        ],
        rows=[
            Row("Over time", _over_time(), (8, 8)),
            rewards.decisions(),
            Row("Activity", _activity(), (24, 8)),
            Row("Attempts", rewards.attempts(), (6, 7)),
        ],
        variables=[event_variable()],
        by_service=False,
    )
