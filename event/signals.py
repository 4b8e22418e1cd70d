"""Business metrics of event, and the functions by which its code reports what happened."""

import unicodedata
from collections.abc import Mapping
from itertools import count, islice
from typing import Literal, get_args

from event.states import Activity, Reason, RequestStatus
from plainview import Bounded, Catalogue, mask_text
from plainview.catalogue import OTHER
from shared.announcements import Announcement

CATALOGUE = Catalogue("event")
TITLE_LENGTH = 80  # characters of a title as a label
Key = tuple[str, ...]

Participation = Literal["joined", "repeated", "refused"]
KeyUse = Literal["first", "replayed", "in_flight", "mismatch"]
Recovered = Literal["finished", "undone"]
Applied = Literal["applied", "duplicate", "failed", "undecodable"]

SERIES = Bounded(100)  # events or rewards with series of their own; the rest share `_other`
NAMED = Bounded(SERIES.limit + 1)  # those and `_other`

EVENTS_ACTIVE = CATALOGUE.gauge("events_active", "Events that are active")
EVENT_INFO = CATALOGUE.gauge(
    "event_info",
    "1, with the title of an active event",
    labels={"event_id": NAMED, "title": NAMED},
)
REWARD_INFO = CATALOGUE.gauge(
    "reward_info",
    "1, with the name of a reward of an active event",
    labels={"reward_id": NAMED, "event_id": NAMED, "title": NAMED},
)
PARTICIPATIONS = CATALOGUE.counter(
    "event_participations_total",
    "Attempts to take part in an event",
    labels={"outcome": get_args(Participation)},
)
PARTICIPANTS = CATALOGUE.gauge(
    "event_participants", "Users that take part in an active event", labels={"event_id": SERIES}
)
PARTICIPATION_RATE = CATALOGUE.gauge(
    "event_participation_rate",
    "Share (0 to 1) of the known members that take part in an active event",
    labels={"event_id": SERIES},
)
REQUESTS = CATALOGUE.counter(
    "reward_requests_total",
    "Reward requests by what became of them",
    labels={"status": (*RequestStatus, "refused"), "reason": Reason},
)
EVENT_REQUESTS = CATALOGUE.gauge(
    "event_reward_requests",
    "Reward requests of an active event by status, those without work left to be done",
    labels={"event_id": SERIES, "status": RequestStatus},
)
REQUESTS_PENDING = CATALOGUE.gauge(
    "reward_requests_pending", "Reward requests with stock work left to be done"
)
OLDEST_PENDING = CATALOGUE.gauge(
    "reward_requests_oldest_pending_seconds",
    "Age of the oldest stock work left to be done, 0 without any",
    unit="seconds",
)
AWAITING_DECISION = CATALOGUE.gauge(
    "reward_requests_awaiting_decision", "Reward requests that an operator has to decide on"
)
APPROVAL_RATIO = CATALOGUE.gauge(
    "reward_approval_ratio", "Share (0 to 1) of the decided reward requests that are approved"
)
DECISION_DURATION = CATALOGUE.histogram(
    "reward_decision_duration_seconds",
    "Time from a reward request to an operator's decision",
    buckets=(1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 72 * 3600),
)
STOCK_LEFT = CATALOGUE.gauge(
    "reward_stock_left",
    "What can still be requested of a reward of an active event",
    labels={"event_id": SERIES, "reward_id": SERIES},
)
ACTIVITY_RECENT = CATALOGUE.gauge(
    "activity_recent",
    "What was done in the last 5 minutes (of sign_in: by how many users)",
    labels={"kind": Activity},
)
ACTIVITY = CATALOGUE.counter("activity_total", "What was done", labels={"kind": Activity})
VIOLATIONS = CATALOGUE.gauge(
    "claim_invariant_violations",
    "Rewards whose granted and pending requests and stock left do not add up to their stock",
)
RECOVERED = CATALOGUE.counter(
    "claims_recovered_total",
    "Stock work that a crash or a lost reply had left",
    labels={"outcome": get_args(Recovered)},
)
IDEMPOTENCY = CATALOGUE.counter(
    "idempotency_total",
    "Claims by what their Idempotency-Key meant",
    labels={"outcome": get_args(KeyUse)},
)
STREAM_LAG = CATALOGUE.gauge(
    "stream_consumer_lag", "Announcements of auth that are not applied yet"
)
STREAM_MESSAGES = CATALOGUE.counter(
    "stream_messages_total",
    "Announcements of auth by what became of them",
    labels={
        "type": (*Announcement, "other"),
        "outcome": get_args(Applied),
    },
)


def participation(outcome: Participation) -> None:
    """Somebody `joined`, asked again (`repeated`) or was `refused`."""
    PARTICIPATIONS.inc(outcome=outcome)
    if outcome == "joined":
        ACTIVITY.inc(kind=Activity.PARTICIPATION)


def requested(status: RequestStatus) -> None:
    """A claim was granted (`approved`) or waits for a decision (`pending`)."""
    REQUESTS.inc(status=status, reason=Reason.NONE)
    ACTIVITY.inc(kind=Activity.REWARD_REQUEST)


def refused(reason: Reason) -> None:
    """A claim was refused for this reason."""
    REQUESTS.inc(status="refused", reason=reason)


def decided(status: RequestStatus, seconds: float) -> None:
    """An operator `approved` or `rejected` a request, `seconds` after it was made."""
    REQUESTS.inc(status=status, reason=Reason.OPERATOR)
    ACTIVITY.inc(kind=Activity.DECISION)
    DECISION_DURATION.observe(seconds)


def key_used(outcome: KeyUse) -> None:
    """Whether an Idempotency-Key was new, repeated, in use, or used for something else."""
    IDEMPOTENCY.inc(outcome=outcome)


def recovered(outcome: Recovered) -> None:
    """An interrupted claim or rejection was `finished` or `undone`."""
    RECOVERED.inc(outcome=outcome)


def announcement(type_: str, outcome: Applied) -> None:
    """A message was `applied`, a `duplicate`, `failed`, or not UTF-8 (`undecodable`)."""
    known = type_ if type_ in set(Announcement) else "other"
    STREAM_MESSAGES.inc(type=known, outcome=outcome)
    if outcome == "applied":
        ACTIVITY.inc(
            kind=Activity.SIGN_UP if known == Announcement.REGISTERED else Activity.SIGN_IN
        )


def stream_lag(messages: int) -> None:
    """The number of announcements that are not applied yet."""
    STREAM_LAG.set(messages)


def events(participants: Mapping[str, int], members: int) -> None:
    """The active events and their participants, and how many members there are."""
    EVENTS_ACTIVE.set(len(participants))
    PARTICIPANTS.replace({(event,): n for event, n in participants.items()})
    PARTICIPATION_RATE.replace(
        {(event,): n / max(members, 1) for event, n in participants.items()}, fold=max
    )


def titles(events: Mapping[str, str], rewards: Mapping[tuple[str, ...], str]) -> None:
    """Titles of active events by ID, and of their rewards by (reward, event).

    At most 100 of each are shown, the first ones: give them in the order of the other gauges.
    """
    by_event: Mapping[tuple[str, ...], str] = {(event,): title for event, title in events.items()}
    for gauge, named in ((EVENT_INFO, by_event), (REWARD_INFO, rewards)):
        others = (OTHER,) * (len(gauge.metric.labels) - 1)
        values = title_labels(named, SERIES.limit, others)
        gauge.replace({(*key, title): 1 for key, title in values.items()})


def event_requests(counts: Mapping[tuple[str, ...], int]) -> None:
    """Reward requests by event and status."""
    EVENT_REQUESTS.replace(counts)


def stock(left: Mapping[tuple[str, ...], float], violations: int) -> None:
    """Stock left by (event, reward), and how many rewards have stock that does not add up."""
    STOCK_LEFT.replace(left)
    VIOLATIONS.set(violations)


def backlog(unfinished: int, oldest_s: float, awaiting: int) -> None:
    """Unfinished requests, the age of the oldest, and requests that await an operator."""
    REQUESTS_PENDING.set(unfinished)
    OLDEST_PENDING.set(oldest_s)
    AWAITING_DECISION.set(awaiting)


def decisions(approved: int, rejected: int) -> None:
    """The numbers of approved and of rejected requests."""
    total = approved + rejected
    APPROVAL_RATIO.set(approved / total if total else 1.0)


def activity(recent: Mapping[Activity, int]) -> None:
    """The number of activities of each kind in the last minutes."""
    ACTIVITY_RECENT.replace({(kind,): n for kind, n in recent.items()})


def title_labels(titles: Mapping[Key, str], most: int, others: Key) -> dict[Key, str]:
    """The first `most` titles, bounded, on one line, masked, none twice; `others` for the rest.

    Keys are (event,) or (reward, event). Panels group by title, so the second "Coupon" of an event
    becomes "Coupon (2)": in the order of the IDs, which is the same in every replica. An address
    or a token in a title is masked as in a log line.
    """
    chosen = dict(islice(titles.items(), most))
    found: dict[Key, str] = {}
    used: set[Key] = set()
    for key in sorted(chosen):
        plain = mask_text(_one_line(chosen[key])) or "untitled"
        numbered = (_cut(plain, f" ({number})" if number > 1 else "") for number in count(1))
        found[key] = next(title for title in numbered if (*key[1:], title) not in used)
        used.add((*key[1:], found[key]))
    return found | ({others: "others"} if len(titles) > most else {})


def _one_line(title: str) -> str:
    """Without control characters, invisible marks, and halves of surrogate pairs."""
    spaced = "".join(" " if char.isspace() else char for char in title)
    shown = "".join(char for char in spaced if unicodedata.category(char)[0] != "C")
    return " ".join(shown.split())


def _cut(title: str, end: str) -> str:
    if len(title + end) <= TITLE_LENGTH:
        return title + end
    return f"{title[: TITLE_LENGTH - 1 - len(end)].rstrip()}…{end}"
