"""The checker of histories finds what is planted in them, and nothing in a good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history import GRANTED, UNKNOWN, Call, Stored, violations


def granted(user: str, key: str, start: float, end: float) -> Call:
    reply = {"id": f"id-{user}", "status": "approved", "decided_at": f"at-{user}"}
    return Call(user, "r", key, start, end, GRANTED, reply)


def request(user: str, key: str, **more: Any) -> dict[str, Any]:
    return {
        "public_id": f"id-{user}",
        "reward_id": "r",
        "user_id": user,
        "user_key": f"{user}:{key}",
        "status": "approved",
        "decided_at": f"at-{user}",
        **more,
    }


# ann is granted, and again after her connection broke; bob too; ann's second key and cay are late
ANN_BROKEN = Call("ann", "r", "k1", 0.0, 1.0, UNKNOWN)
ANN = granted("ann", "k1", 1.0, 2.0)
ANN_AGAIN = granted("ann", "k1", 3.0, 4.0)
BOB = granted("bob", "k2", 1.5, 2.5)
ANN_TWICE = Call("ann", "r", "k3", 3.0, 3.5, "already_requested")
CAY = Call("cay", "r", "k4", 2.0, 5.0, "sold_out")
CALLS = (ANN_BROKEN, ANN, ANN_AGAIN, BOB, ANN_TWICE, CAY)
STORED = Stored(
    {"r": {"stock": 2, "stock_left": 0}}, (request("ann", "k1"), request("bob", "k2")), 12.0
)


def with_call(old: Call, **change: Any) -> tuple[tuple[Call, ...], Stored]:
    return tuple(replace(call, **change) if call is old else call for call in CALLS), STORED


def with_stored(**change: Any) -> tuple[tuple[Call, ...], Stored]:
    return CALLS, replace(STORED, **change)


def other_reply(**change: Any) -> tuple[tuple[Call, ...], Stored]:
    return with_call(ANN_AGAIN, reply={**ANN_AGAIN.reply, **change})


BAD: dict[str, Callable[[], tuple[tuple[Call, ...], Stored]]] = {
    "a grant that is lost": lambda: with_stored(
        requests=(request("ann", "k1"),), rewards={"r": {"stock": 2, "stock_left": 1}}
    ),
    "one granted more than there is": lambda: with_stored(
        requests=(*STORED.requests, request("dan", "k5"))
    ),
    "negative stock": lambda: with_stored(
        requests=(*STORED.requests, request("dan", "k5")),
        rewards={"r": {"stock": 2, "stock_left": -1}},
    ),
    "a unit that vanished": lambda: with_stored(rewards={"r": {"stock": 3, "stock_left": 0}}),
    "two for one user, both kept": lambda: with_stored(
        requests=(*STORED.requests, request("ann", "k3", public_id="id-2")),
        rewards={"r": {"stock": 3, "stock_left": 0}},
    ),
    "two for one user, both acknowledged": lambda: other_reply(id="id-2"),
    "another reply to the same key": lambda: other_reply(decided_at="later"),
    "kept in another state than acknowledged": lambda: with_stored(
        requests=(request("ann", "k1", status="pending"), request("bob", "k2"))
    ),
    "kept for another user": lambda: with_stored(
        requests=(request("ann", "k1", user_id="eve"), request("bob", "k2"))
    ),
    "kept under another key": lambda: with_stored(
        requests=(request("ann", "k9"), request("bob", "k2"))
    ),
    "work that is left": lambda: with_stored(
        requests=(request("ann", "k1", op={"id": "o", "delta": -1}), request("bob", "k2"))
    ),
    "a request that stays undecided": lambda: with_stored(
        requests=(
            request("ann", "k1"),
            request("bob", "k2"),
            request("dan", "k5", status="working"),
        ),
        rewards={"r": {"stock": 3, "stock_left": 0}},
    ),
    "decided too late": lambda: with_stored(settled_s=60.5),
    "sold out before it was": lambda: with_call(CAY, start=0.1, end=1.2),
    "sold out though something is left": lambda: with_stored(
        rewards={"r": {"stock": 3, "stock_left": 1}}
    ),
    "granted, then sold out": lambda: with_call(ANN_TWICE, outcome="sold_out"),
    "already requested by nobody": lambda: with_call(CAY, outcome="already_requested"),
    "never answered": lambda: with_call(CAY, outcome=UNKNOWN),
    "an error that is no answer": lambda: with_call(CAY, outcome="internal_error"),
}


def test_a_good_history_has_no_violation() -> None:
    assert violations(CALLS, STORED) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_found(name: str) -> None:
    calls, stored = BAD[name]()
    assert violations(calls, stored), name
