"""The business right now: a row of the overview."""

from __future__ import annotations

from monitoring.dashboards.board import SERVICES, TRACE_LINK
from monitoring.dashboards.panels import (
    BAD,
    GOOD,
    PLAIN,
    WARN,
    Panel,
    Query,
    column,
    lines,
    organize,
    table,
    timed,
)

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
            Query(f"max by (kind) (activity_recent{{{SERVICES}}})", "{{kind}}"),
            size=(12, 8),
        ),
        table(
            "Running events",
            "Participants and their share of all members, by running event (100 at most). More "
            "on the dashboard Event performance.",
            *(
                Query(f"max by (event_id) ({name}{{{SERVICES}}})", instant=True, format="table")
                for name in ("event_participants", "event_participation_rate")
            ),
            transformations=[
                {"id": "merge", "options": {}},
                organize(
                    {
                        "event_id": "Event", "Value #A": "Participants",
                        "Value #B": "Share of members",
                    }
                ),
            ],
            overrides=[column("Share of members", unit="percentunit")],
            no_data="no running event",
            size=(12, 8),
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
                {
                    "id": "extractFields",
                    "options": {
                        "source": "labels", "format": "json", "replace": True, "keepTime": True,
                    },
                },
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
