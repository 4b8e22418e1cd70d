"""The kit's overview with what is of event rewards: people, and the business right now."""

from monitoring.alerts import ALERTS
from monitoring.settings import KIT
from monitoring.titles import titled
from plainview.kit import Dashboard, Row
from plainview.kit import overview as kit_overview
from plainview.kit.board import TRACE_LINK
from plainview.kit.logs import FROM_LABELS
from plainview.kit.panels import (
    BAD,
    COLOURED_TEXT,
    GOOD,
    PLAIN,
    WARN,
    Panel,
    Query,
    by,
    cells,
    column,
    lines,
    merged,
    organize,
    sorted_by,
    stat,
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


def _running_events() -> Panel:
    def each(metric: str) -> str:
        return titled(highest(metric, "event_id", anywhere()))

    share = {"unit": "percentunit", "decimals": 1, "width": 100}
    return merged(
        "Running events",
        "Participants and their share of all members, by running event (100 at most). More "
        "on the dashboard Event performance.",
        {"title": "Event"},
        {
            "Participants": (each("event_participants"), {"width": 105}),
            "Of all users": (each("event_participation_rate"), share),
        },
        hide=("event_id",),
        transformations=[sorted_by("Participants", descending=True)],
        size=(10, 7),
    )


def _last_requests() -> Panel:
    """Who got what; titles come from Prometheus, as log lines have IDs alone."""
    over = "$__range"  # what is over by now has a name too
    rewards = f"max by (reward_id, event_id) (last_over_time(reward_info{anywhere()}[{over}]))"
    hidden = organize({}, hide=("Time", "Value", "event_id"))
    return table(
        "Last reward requests",
        "The newest 50 requests and decisions, as the event service logged them; rewards of "
        "events that ran in this time by name. A click on the trace shows where the time went.",
        Query(
            anywhere('service="event"', 'component="business"') + ' |= "reward."'
            " | json event, status, reason, reward_id"
            ' | event=~"reward[.](claimed|refused|decided)"'
            " | keep event,status,reason,reward_id,trace_id",
            source="loki", limit=50,
        ),
        *cells(titled(titled(rewards, "reward_id", "reward", over), over=over)),
        transformations=[
            {**FROM_LABELS, "filter": {"id": "byRefId", "options": "A"}},
            {**hidden, "filter": {"id": "byRefId", "options": "B"}},
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
            column("What", mappings=WHAT, width=80),
            column("Status", mappings=STATUSES, cellOptions=COLOURED_TEXT, width=80),
            column("Time", unit="dateTimeAsIso", width=170),
            column("Trace", links=[TRACE_LINK], width=310),
        ],
        size=(24, 10),
    )  # fmt: skip


def overview() -> Dashboard:
    """What a person wants to know first: does it work, and what is going on."""
    users = stat(
        "Active users today",
        "Users with an authenticated request today in the business time zone; counted "
        "with a HyperLogLog, standard error 0.81 %.",
        Query(highest("active_users", labels=anywhere('window="day"')), "today"),
        no_data="nothing from auth", size=(4, 4),
    )  # fmt: skip
    activity = lines(
        "Activity by kind, last five minutes",
        "What users and operators did in the last five minutes, from the database; of sign_in "
        "the users and not the times.",
        by("kind", highest("activity_recent", "kind", anywhere())), size=(24, 7),
    )  # fmt: skip
    business = Row("Business, right now", [activity, _last_requests()])
    return kit_overview(KIT, ALERTS, tiles=[users], beside=[_running_events()], more=[business])
