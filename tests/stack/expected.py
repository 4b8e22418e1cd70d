"""Each business panel, by name, with what it has to show: values by their labels' values.

Ratios and gauges are exact. What counts since a start is `increase` or `rate`: books.py says how
exact these are. A new panel without an entry fails test_data_right.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import pytest

from auth.signals import Refreshed, SignIn, SignUp
from event.states import Reason
from shared.windows import MONTHS
from tests.stack.books import ACTIVE_ERROR, BOUNDS, Books, Shown

# Sums by this label; asked at the end of the running minute, which its steps are.
BY_HOUR = {"events: Activity by hour of day A": "kind"}


def one(value: Any) -> Shown:
    """A single number without labels."""
    return {(): value}


def days(found: Mapping[int, Any]) -> Shown:
    return {(f"{day:02}",): number for day, number in found.items()}


def text(found: Mapping[Any, Any]) -> dict[tuple[str, ...], Any]:
    return {(str(key),): number for key, number in found.items()}


def sign_ins(books: Books) -> dict[tuple[str, ...], int]:
    return books.tally("sign_in", *get_args(SignIn))


def failed_share(books: Books) -> Shown:
    found = sign_ins(books)
    every = sum(found.values())
    share = found[("bad_credentials",)] / every
    lost = 2 / every if books.restarted else 0  # so many of the bad ones at most, of a few dozens
    return one(pytest.approx(share, rel=0.05, abs=lost))


def by_status(books: Books) -> dict[tuple[str, ...], int]:
    made = books.made()
    return {(each,): made[each] for each in ("approved", "pending", "rejected", "refused")}


def by_reason(books: Books) -> Shown:
    refused = books.refused()
    refused["operator"] = books.made()["rejected"]
    return books.increase(text({each: refused[each] for each in Reason if each != Reason.NONE}))


def decisions_by_bound(books: Books) -> Shown:
    times = books.decision_seconds()
    return books.increase(
        {
            (str(float(bound)).replace("inf", "+Inf"),): sum(each <= bound for each in times)
            for bound in BOUNDS[1:]
        }
    )


def idempotency(books: Books) -> Shown:
    counts = dict.fromkeys(("in_flight", "mismatch", "replayed"), 0)
    return books.increase(text({**counts, "first": books.count("requests")}))


def all_ended(books: Books) -> float:
    """None is left; one may be for a moment, and nothing equals that."""
    return math.nan if books.count("requests", op={"$exists": True}) else 0


def titled(found: Callable[[Books], Shown]) -> Callable[[Books], Shown]:
    """By event, each with its title."""

    def by_title(books: Books) -> Shown:
        titles = books.titles("events", "title")
        return {(*key, titles[key[0]]): value for key, value in found(books).items()}

    return by_title


def named(found: Callable[[Books], Shown]) -> Callable[[Books], Shown]:
    """By event and reward, each with its name; labels in their order: event, reward, IDs apart."""

    def by_name(books: Books) -> Shown:
        titles, names = books.titles("events", "title"), books.titles("rewards", "name")
        return {
            (event, names[reward], reward, titles[event]): value
            for (event, reward), value in found(books).items()
        }

    return by_name


def stickiness(books: Books) -> Shown:
    share = books.active(1).expected / books.active(30).expected
    return one(pytest.approx(share, rel=2 * ACTIVE_ERROR))


USERS: dict[str, Callable[[Books], Shown]] = {
    "Active users, today A": lambda books: one(books.active(1)),
    "Active users, 7 days A": lambda books: one(books.active(7)),
    "Active users, 30 days A": lambda books: one(books.active(30)),
    "Stickiness A": stickiness,
    "Registered users A": lambda books: one(books.users()),
    "Active users by day A": lambda books: days(books.active_by_day()),
    "Active users by month A": lambda books: days(
        {0: books.active(30), **dict.fromkeys(range(1, MONTHS), 0)}
    ),
    "New sign-ups, today A": lambda books: one(books.new(1)),
    "New sign-ups, 7 days A": lambda books: one(books.new(7)),
    "New sign-ups, 30 days A": lambda books: one(books.new(30)),
    "Sign-ups by outcome A": lambda books: books.increase(
        books.tally("sign_up", *get_args(SignUp))
    ),
    "New sign-ups by day A": lambda books: days(books.new_by_day()),
    "Sign-ins by outcome A": lambda books: books.increase(sign_ins(books)),
    "Sign-ins per second A": lambda books: books.rate(sign_ins(books)),
    "Failed share of sign-ins A": failed_share,
    "Session refreshes by outcome A": lambda books: books.increase(
        books.tally("refresh", *get_args(Refreshed))
    ),
    "Access tokens by outcome A": lambda books: books.increase(
        books.tally("token", "accepted", "rejected", "forbidden", "keys_unavailable")
    ),
    "Participation rate by event A": titled(Books.participation_rate),
}
EVENTS: dict[str, Callable[[Books], Shown]] = {
    "Running events A": lambda books: one(len(books.running())),
    "Approval rate A": lambda books: one(books.approval_of_all()),
    "Awaiting a decision A": lambda books: one(books.count("requests", status="pending")),
    "Stock work undone A": lambda books: one(all_ended(books)),
    "Oldest stock work A": lambda books: one(all_ended(books)),
    "Rewards gone wrong A": lambda books: one(books.wrong_rewards()),
    "Events A": titled(Books.participants),
    "Events B": titled(Books.participation_rate),
    "Events C": titled(lambda books: books.requests("approved", "pending", "rejected")),
    "Events D": titled(lambda books: books.requests("approved")),
    "Events E": titled(Books.approval),
    "Claim funnel A": lambda books: one(sum(books.participants().values())),
    "Claim funnel B": lambda books: one(
        sum(books.requests("approved", "pending", "rejected").values())
    ),
    "Claim funnel C": lambda books: one(sum(books.requests("approved").values())),
    "Participants A": titled(Books.participants),
    "Approval rate by event A": titled(Books.approval),
    "Requests by status A": lambda books: books.increase(by_status(books)),
    "Rejections by reason A": by_reason,
    "Reward requests per second A": lambda books: books.rate(by_status(books)),
    "Time to decision, median A": lambda books: one(books.decision_quantile(0.5)),
    "Time to decision, 95 of 100 A": lambda books: one(books.decision_quantile(0.95)),
    "Time to decision A": decisions_by_bound,
    "Stock A": named(Books.stock),
    "Stock B": named(Books.run_out),
    "Stock left A": named(Books.stock),
    "Activity by hour of day A": Books.by_hour,
    "Activity per minute A": lambda books: books.rate(text(books.done()), 60),
    "Attempts to take part A": lambda books: books.increase(
        books.tally("join", "repeated", "refused") | {("joined",): books.count("participations")}
    ),
    "Idempotency keys A": idempotency,
    "Left-over work put right A": lambda books: books.increase({("finished",): 0, ("undone",): 0}),
}


class WithEnded(dict[tuple[str, ...], Any]):
    """What is shown of all running events; of one that ended soon, Prometheus may know or not."""

    def __init__(self, running: Shown, ever: Shown) -> None:
        super().__init__(running)
        self.ever = ever

    __hash__ = None

    def __eq__(self, shown: object) -> bool:
        return isinstance(shown, dict) and self.items() <= shown.items() <= self.ever.items()

    def __ne__(self, shown: object) -> bool:
        return not self == shown


def of_last_requests(books: Books) -> Shown:
    def rewards(ended: bool) -> Shown:
        return named(lambda books: dict.fromkeys(books.stock(ended), 1))(books)

    return WithEnded(rewards(ended=False), rewards(ended=True))


OVERVIEW: dict[str, Callable[[Books], Shown]] = {
    "Active users today A": lambda books: one(books.active(1)),
    "Activity by kind, last five minutes A": lambda books: text(books.done_recently()),
    "Running events A": titled(Books.participants),
    "Running events B": titled(Books.participation_rate),
    "Last reward requests B": of_last_requests,
}
EXPECTED = {
    f"{dashboard}: {name}": expected
    for dashboard, found in (("users", USERS), ("events", EVENTS), ("overview", OVERVIEW))
    for name, expected in found.items()
}
