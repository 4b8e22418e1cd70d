"""User activity: who comes, who is new, how they get in, who takes part."""

from __future__ import annotations

from typing import Any

from monitoring import alerts
from monitoring.dashboards.board import SERVICES, Dashboard, query_variable
from monitoring.dashboards.panels import (
    BAD,
    WARN,
    Json,
    Panel,
    Query,
    bars,
    coloured,
    lines,
    organize,
    sorted_by,
    stat,
    steps,
)

SERVICE = f"{{{SERVICES}}}"
EVENTS = f'{{{SERVICES},event_id=~"$event"}}'
ESTIMATED = (
    "Users with an authenticated request; days of the business time zone, today included. "
    "Counted with a HyperLogLog, standard error 0.81 %."
)
SINCE = "Counted by the services that run, within the time shown above."
WINDOWS = {"day": "Today", "week": "Last 7 days", "month": "Last 30 days"}


def event_variable() -> Json:
    """The running events."""
    query = 'label_values(event_participants{environment=~"$environment"}, event_id)'
    return query_variable("event", query, "Event")


def _by_day(title: str, why: str, expr: str, **changes: Any) -> Panel:
    """A column for each day of a gauge with the label `days_ago`, today at the right end."""
    padded = f'label_replace({expr}, "days_ago", "0$1", "days_ago", "(.)")'  # in order as text
    options = {
        "xField": "Days ago",
        "orientation": "vertical",
        "showValue": "auto",
        "stacking": "none",
        "barWidth": 0.9,
        "groupWidth": 0.8,
        "xTickLabelSpacing": 100,
        "legend": {"showLegend": False, "displayMode": "hidden", "placement": "bottom"},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return Panel(
        title, why, [Query(padded, instant=True, format="table")], "barchart",
        options=options, custom={"fillOpacity": 70, "lineWidth": 0}, minimum=0,
        transformations=[
            sorted_by("days_ago", descending=True),
            organize({"days_ago": "Days ago", "Value": "Users"}, hide=("Time",)),
        ],
        **changes,
    )  # fmt: skip


def _active() -> list[Panel]:
    def users(window: str) -> str:
        return f'max(active_users{{{SERVICES},window="{window}"}})'

    return [
        *(
            stat(
                f"Active users, {label.lower()}",
                f"{ESTIMATED} A fall without a fall of requests on the Overview is people, not us.",
                Query(users(window), label),
                no_data="none yet",
                size=(5, 5),
            )
            for window, label in WINDOWS.items()
        ),
        stat(
            "Stickiness",
            "Today's active users as a share of the month's: 20 % means that a user comes every "
            "fifth day. Early in the day it is low.",
            Query(f"{users('day')} / ({users('month')} > 0)", "day / month"),
            unit="percentunit",
            no_data="nobody this month",
            size=(5, 5),
        ),
        stat(
            "Registered users",
            "All accounts in the database of auth.",
            Query(f"max(registered_users{SERVICE})", "users"),
            no_data="nothing from auth",
            size=(4, 5),
        ),
        _by_day(
            "Active users by day",
            f"{ESTIMATED} The last 30 days, today at the right.",
            f"max by (days_ago) (active_users_by_day{SERVICE})",
            no_data="none yet",
            size=(24, 8),
        ),
    ]


def _new() -> list[Panel]:
    return [
        *(
            stat(
                f"New sign-ups, {label.lower()}",
                "Accounts in the database by the day they were made, business time zone.",
                Query(f'max(new_sign_ups{{{SERVICES},window="{window}"}})', label),
                no_data="nothing from auth",
                size=(4, 4),
            )
            for window, label in WINDOWS.items()
        ),
        bars(
            "Sign-ups by outcome",
            f"{SINCE} Duplicate: the address had an account; many of them may be somebody who "
            "tries addresses.",
            Query(
                f"sum by (outcome) (increase(auth_sign_ups_total{SERVICE}[$__range]))",
                "{{outcome}}",
                instant=True,
            ),
            decimals=0,
            size=(12, 4),
        ),
        _by_day(
            "New sign-ups by day",
            "Accounts in the database by the day they were made. The last 30 days, today at the "
            "right.",
            f"max by (days_ago) (new_sign_ups_by_day{SERVICE})",
            no_data="nothing from auth",
            size=(24, 8),
        ),
    ]


def _entry() -> list[Panel]:
    tried = f"sum(increase(auth_sign_ins_total{SERVICE}[$__rate_interval]))"
    failing = f'{{{SERVICES},outcome=~"bad_credentials|limited"}}'
    failed = f"sum(increase(auth_sign_ins_total{failing}[$__rate_interval]))"
    return [
        bars(
            "Sign-ins by outcome",
            f"{SINCE} Limited: too many tries of one address or account.",
            Query(
                f"sum by (outcome) (increase(auth_sign_ins_total{SERVICE}[$__range]))",
                "{{outcome}}",
                instant=True,
            ),
            decimals=0,
            size=(8, 8),
        ),
        lines(
            "Sign-ins per second",
            "Attempts by outcome. A wall of bad_credentials or limited is an attack, see the "
            "runbook LoginBruteForce.",
            Query(
                f"sum by (outcome) (rate(auth_sign_ins_total{SERVICE}[$__rate_interval]))",
                "{{outcome}}",
            ),
            unit="reqps",
            size=(8, 8),
        ),
        lines(
            "Failed share of sign-ins",
            "Wrong passwords and limited tries of all. More than "
            f"{alerts.SIGN_IN_FAILURE_RATIO:.0%} at more than {alerts.SIGN_IN_FAILURES} a second "
            "sends a message.",
            Query(f"{failed} / ({tried} > 0)", "failed"),
            unit="percentunit",
            thresholds=steps((alerts.SIGN_IN_FAILURE_RATIO, WARN)),
            maximum=1,
            no_data="nobody signs in",
            size=(8, 8),
        ),
        bars(
            "Session refreshes by outcome",
            f"{SINCE} Reused: a used-up refresh token came again, maybe a theft; its sessions "
            "are ended. See the runbook RefreshTokenReuse.",
            Query(
                f"sum by (outcome) (increase(auth_token_refreshes_total{SERVICE}[$__range]))",
                "{{outcome}}",
                instant=True,
            ),
            overrides=[coloured("reused", BAD)],
            decimals=0,
            size=(12, 7),
        ),
        bars(
            "Access tokens by outcome",
            f"{SINCE} At the gateway. Rejected: expired or no token of ours; forbidden: a role "
            "is missing; keys_unavailable: auth's keys could not be had.",
            Query(
                f"sum by (outcome) (increase(token_verifications_total{SERVICE}[$__range]))",
                "{{outcome}}",
                instant=True,
            ),
            decimals=0,
            size=(12, 7),
        ),
    ]


def _taking_part() -> list[Panel]:
    rate = f"topk(20, max by (event_id) (event_participation_rate{EVENTS}))"
    return [
        bars(
            "Participation rate by event",
            "Participants of a running event as a share of all members, the 20 highest.",
            Query(rate, "{{event_id}}", instant=True),
            unit="percentunit",
            maximum=1,
            no_data="no running event",
        ),
        lines(
            "Participation rate over time",
            "The same over time: how fast an event is taken up. A flat line in its first days: "
            "few know of it, or its conditions are hard.",
            Query(rate, "{{event_id}}"),
            unit="percentunit",
            no_data="no running event",
        ),
    ]


def users() -> Dashboard:
    """How many people come, and whether they can."""
    return Dashboard(
        uid="er-users",
        title="User activity",
        why="How many people come, come back and are new; how they sign in; who takes part.",
        since="now-24h",
        rows=[
            ("Active users", _active()),
            ("New sign-ups", _new()),
            ("Signing in", _entry()),
            ("Taking part", _taking_part()),
        ],
        variables=[event_variable()],
    )
