"""The business right now, for the overview."""

from monitoring.titles import titled
from plainview.kit.board import TRACE_LINK
from plainview.kit.logs import FROM_LABELS
from plainview.kit.panels import (
    BAD,
    GOOD,
    PLAIN,
    WARN,
    Column,
    Panel,
    Query,
    by,
    cells,
    column,
    lines,
    merged,
    organize,
    sorted_by,
    table,
    timed,
)
from plainview.kit.promql import anywhere, highest

STATUSES = [
    timed("approved", "granted", GOOD),
    timed("pending", "waits", PLAIN),
    timed("refused", "refused", WARN),
    timed("rejected", "rejected", BAD),
]
WHAT = [
    timed("reward.claimed", "asked", PLAIN),
    timed("reward.refused", "asked", PLAIN),
    timed("reward.decided", "decided", PLAIN),
]


def activity() -> Panel:
    """What users do."""
    return lines(
        "Activity by kind, last five minutes",
        "What users and operators did in the last five minutes, from the database; of sign_in "
        "the users and not the times.",
        by("kind", highest("activity_recent", "kind", anywhere())),
        size=(24, 7),
    )


def running_events() -> Panel:
    """Which events run, and how many take part."""

    def each(metric: str) -> str:
        return titled(highest(metric, "event_id", anywhere()))

    share = {"unit": "percentunit", "decimals": 1, "custom__width": 100}
    return merged(
        "Running events",
        "Participants and their share of all members, by running event (100 at most). More "
        "on the dashboard Event performance.",
        {"title": "Event"},
        {
            "Participants": Column(each("event_participants"), {"custom__width": 105}),
            "Of all users": Column(each("event_participation_rate"), share),
        },
        hide=("event_id",),
        transformations=[sorted_by("Participants", descending=True)],
        size=(10, 7),
    )


def last_requests() -> Panel:
    """Who got what; titles come from Prometheus, as log lines have IDs alone."""
    fields = "event,status,reason,reward_id,trace_id"
    which = anywhere('service="event"', 'component="business"')
    over = "$__range"  # what is over by now has a name too
    rewards = f"max by (reward_id, event_id) (last_over_time(reward_info{anywhere()}[{over}]))"
    return table(
        "Last reward requests",
        "The newest 50 requests and decisions, as the event service logged them; rewards of "
        "events that ran in this time by name. A click on the trace shows where the time went.",
        Query(
            f'{which} |= "reward."'
            " | json event, status, reason, reward_id"
            ' | event=~"reward[.](claimed|refused|decided)"'
            f" | keep {fields}",
            source="loki",
            limit=50,
        ),
        *cells(titled(titled(rewards, "reward_id", "reward", over), over=over)),
        transformations=[
            {**FROM_LABELS, "filter": {"id": "byRefId", "options": "A"}},
            {
                **organize({}, hide=("Time", "Value", "event_id")),
                "filter": {"id": "byRefId", "options": "B"},
            },
            {"id": "joinByField", "options": {"byField": "reward_id", "mode": "outerTabular"}},
            sorted_by("Time", descending=True),
            organize(
                {
                    "Time": "Time", "event": "What", "status": "Status", "reason": "Reason",
                    "reward": "Reward", "title": "Event", "trace_id": "Trace",
                },
                hide=("reward_id",),
            ),
        ],
        overrides=[
            column("What", mappings=WHAT, custom__width=80),
            column(
                "Status",
                mappings=STATUSES,
                custom__cellOptions={"type": "color-text"},
                custom__width=80,
            ),
            column("Time", unit="dateTimeAsIso", custom__width=170),
            column("Trace", links=[TRACE_LINK], custom__width=310),
        ],
        size=(24, 10),
    )  # fmt: skip
