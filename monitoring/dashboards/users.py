"""User activity: who comes, who is new, how they get in, who takes part."""

from monitoring.dashboards.rewards import EVENT_SELECTOR, event_variable, outcomes
from monitoring.settings import KIT, SIGN_IN_FAILURE_RATIO, SIGN_IN_FAILURES
from monitoring.titles import titled
from plainview.kit import Dashboard, Row
from plainview.kit.panels import (
    BAD,
    GOOD,
    WARN,
    Panel,
    Query,
    bars,
    by,
    cells,
    coloured,
    lines,
    organize,
    sorted_by,
    stat,
)
from plainview.kit.promql import anywhere, highest, rate
from shared.windows import WINDOWS

ESTIMATED = (
    "Users with an authenticated request; days of the business time zone, today included. "
    "Counted with a HyperLogLog, standard error 0.81 %."
)
SHOWN = {window: "Today" if days == 1 else f"{days} days" for window, days in WINDOWS.items()}


def _over_time(title: str, why: str, metric: str, ago: str = "Days ago") -> Panel:
    """A column for each value of the gauge's label `days_ago` or `months_ago`, 0 at the right."""
    label = ago.lower().replace(" ", "_")
    expr = highest(metric, label, anywhere())
    padded = f'label_replace({expr}, "{label}", "0$1", "{label}", "(.)")'  # in order as text
    options = {
        "xField": ago, "orientation": "vertical", "showValue": "auto", "stacking": "none",
        "barWidth": 0.9, "groupWidth": 0.8, "xTickLabelSpacing": 100,
        "legend": {"showLegend": False, "displayMode": "hidden", "placement": "bottom"},
        "tooltip": {"mode": "single", "sort": "none"},
    }  # fmt: skip
    return Panel(
        title, why, cells(padded), "barchart",
        options=options, custom={"fillOpacity": 70, "lineWidth": 0}, minimum=0,
        transformations=[
            sorted_by(label, descending=True),
            organize({label: ago, "Value": "Users"}, hide=("Time",)),
        ],
        size=(8, 8),
    )  # fmt: skip


def _of_auth(title: str, why: str, metric: str, word: str, window: str = "") -> Panel:
    which = anywhere(f'window="{window}"') if window else anywhere()
    query = Query(highest(metric, labels=which), word)
    return stat(title, why, query, no_data="nothing from auth")


def _new(window: str) -> Panel:
    label = SHOWN[window]
    return _of_auth(
        f"New sign-ups, {label.lower()}",
        "Accounts in the database by the day they were made, business time zone.",
        "new_sign_ups", label, window,
    )  # fmt: skip


def _how_many() -> list[Panel]:
    day, month = (
        highest("active_users", labels=anywhere(f'window="{each}"')) for each in ("day", "month")
    )
    return [
        *(
            _of_auth(
                f"Active users, {label.lower()}",
                f"{ESTIMATED} A fall without a fall of requests on the Overview is people, not us.",
                "active_users", label, window,
            )
            for window, label in SHOWN.items()
        ),
        stat(
            "Stickiness",
            "Today's active users as a share of the month's: 20 % means that a user comes every "
            "fifth day. Early in the day it is low.",
            Query(f"{day} / ({month} > 0)", "day / month"),
            unit="percentunit", decimals=0, no_data="nobody this month",
        ),
        _new(next(iter(SHOWN))),
        _of_auth(
            "Registered users", "All accounts in the database of auth.", "registered_users", "users"
        ),
    ]  # fmt: skip


def _days() -> list[Panel]:
    return [
        _over_time(
            "Active users by day",
            f"{ESTIMATED} The last 30 days, today at the right.",
            "active_users_by_day",
        ),
        _over_time(
            "Active users by month",
            "Users with an authenticated request in 30 days; the last 30 at the right, 0 before "
            "the first day that is known. Kept for two years, whatever Prometheus forgets.",
            "active_users_by_month",
            "Months ago",
        ),
        _over_time(
            "New sign-ups by day",
            "Accounts in the database by the day they were made. The last 30 days, today at the "
            "right.",
            "new_sign_ups_by_day",
        ),
    ]


def _signing_in() -> list[Panel]:
    def tries(which: str) -> str:
        return f"sum(increase(auth_sign_ins_total{which}[$__rate_interval]))"

    failed = tries(anywhere('outcome=~"bad_credentials|limited"'))
    colours = {"success": GOOD, "bad_credentials": WARN, "limited": BAD}
    return [
        lines(
            "Sign-ins per second",
            "Attempts by outcome. A wall of bad_credentials or limited is an attack, see the "
            "runbook LoginBruteForce.",
            by("outcome", rate("auth_sign_ins_total", "outcome", anywhere())),
            overrides=[coloured(outcome, colour) for outcome, colour in colours.items()],
            unit="reqps", size=(8, 7),
        ),
        lines(
            "Failed share of sign-ins",
            "Wrong passwords and limited tries of all. More than "
            f"{SIGN_IN_FAILURE_RATIO:.0%} at more than {SIGN_IN_FAILURES} a second "
            "sends a message.",
            Query(f"{failed} / ({tries(anywhere())} > 0)", "failed"),
            unit="percentunit", warn=SIGN_IN_FAILURE_RATIO, maximum=1,
            no_data="nobody signs in", size=(8, 7),
        ),
    ]  # fmt: skip


def _outcomes() -> list[Panel]:
    return [
        outcomes(
            "Sign-ins by outcome",
            "Limited: too many tries of one address or account.",
            "auth_sign_ins_total",
        ),
        outcomes(
            "Session refreshes by outcome",
            "Reused: a used-up refresh token came again, maybe a theft; its sessions "
            "are ended. See the runbook RefreshTokenReuse.",
            "auth_token_refreshes_total",
            bad="reused",
        ),
        outcomes(
            "Access tokens by outcome",
            "At the gateway. Rejected: expired or no token of ours; forbidden: a role "
            "is missing; keys_unavailable: auth's keys could not be had.",
            "token_verifications_total",
        ),
        outcomes(
            "Sign-ups by outcome",
            "Duplicate: the address had an account; many of them may be somebody who "
            "tries addresses.",
            "auth_sign_ups_total",
        ),
    ]


def _taking_part() -> Panel:
    rates = highest("event_participation_rate", "event_id", EVENT_SELECTOR)
    return bars(
        "Participation rate by event",
        "Participants of a running event as a share of all members, the ten highest. Low after "
        "some days: few know of it, or its conditions are hard.",
        by("title", titled(f"topk(10, {rates})")),
        unit="percentunit", maximum=1, no_data="no running event", size=(8, 7),
    )  # fmt: skip


def users() -> Dashboard:
    """How many people come, and whether they can."""
    _, *longer = SHOWN
    return Dashboard(
        KIT,
        "users",
        title="User activity",
        why="How many people come, come back and are new; how they sign in; who takes part.",
        since="now-24h",
        first=[*_how_many(), *_days(), *_signing_in(), _taking_part()],
        rows=[
            Row("Signing in", _outcomes(), (6, 7)),
            Row("New sign-ups", [_new(window) for window in longer], (12, 4)),
        ],
        variables=[event_variable()],
        by_service=False,
    )
