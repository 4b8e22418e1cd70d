"""The business right now: a row of the overview."""

from __future__ import annotations

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
    column,
    lines,
    merged,
    organize,
    table,
    timed,
)
from plainview.kit.promql import highest

STATUSES = [
    timed("approved", "granted", GOOD),
    timed("pending", "waits", PLAIN),
    timed("refused", "refused", WARN),
    timed("rejected", "rejected", BAD),
]


def business() -> list[Panel]:
    """What users do, which events run, who asks for rewards."""
    fields = "event,status,reason,event_id,reward_id,user_id,trace_id"
    return [
        lines(
            "Activity by kind, last five minutes",
            "What users and operators did in the last five minutes, from the database; of sign_in "
            "the users and not the times.",
            by("kind", highest("activity_recent", "kind")),
        ),
        merged(
            "Running events",
            "Participants and their share of all members, by running event (100 at most). More "
            "on the dashboard Event performance.",
            {"event_id": "Event"},
            {
                "Participants": Column(highest("event_participants", "event_id")),
                "Share of members": Column(
                    highest("event_participation_rate", "event_id"), {"unit": "percentunit"}
                ),
            },
            no_data="no running event",
        ),
        table(
            "Last reward requests",
            "The newest 50 requests and decisions, as the event service logged them. Users are "
            "pseudonyms. A click on the trace shows where the time went.",
            Query(
                f'{{environment=~"$environment",service="event",component="business"}} |= "reward."'
                ' | json event, status, reason, event_id, reward_id'
                ' | event=~"reward[.](claimed|refused|decided)"'
                f" | keep {fields}",
                source="loki",
                limit=50,
            ),
            transformations=[
                FROM_LABELS,
                organize(
                    {
                        "Time": "Time", "status": "Status", "reason": "Reason", "event": "What",
                        "event_id": "Event", "reward_id": "Reward", "user_id": "By",
                        "trace_id": "Trace",
                    },
                    hide=(),
                ),
            ],
            overrides=[
                column(
                    "Status",
                    mappings=STATUSES,
                    custom__cellOptions={"type": "color-text"},
                ),
                column("Time", unit="dateTimeAsIso", custom__width=170),
                column("Trace", links=[TRACE_LINK]),
            ],
            no_data="no reward was asked for in this time",
            size=(24, 10),
        ),
    ]  # fmt: skip
