"""The checker of histories finds what is planted in them, and nothing in a good one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history import GRANTED, UNKNOWN, Call, Stored, violations

History = tuple[Sequence[Call], Stored]


def granted(user: str, key: str, start: float, end: float) -> Call:
    reply = {"id": f"id-{user}", "status": "approved", "decided_at": f"at-{user}"}
    return Call(user, "r", key, start, end, GRANTED, reply)


def request(user: str, key: str, **more: Any) -> dict[str, Any]:
    by = {"public_id": f"id-{user}", "user_id": user, "user_key": f"{user}:{key}"}
    decided = {"status": "approved", "decided_at": f"at-{user}"}
    return {"reward_id": "r", **by, **decided, **more}


# ann is granted, and again after her connection broke; bob too; ann's second key and cay are late
ANN_BROKEN = Call("ann", "r", "k1", 0.0, 1.0, UNKNOWN)
ANN = granted("ann", "k1", 1.0, 2.0)
ANN_AGAIN = granted("ann", "k1", 3.0, 4.0)
BOB = granted("bob", "k2", 1.5, 2.5)
ANN_TWICE = Call("ann", "r", "k3", 3.0, 3.5, "already_requested")
CAY = Call("cay", "r", "k4", 2.0, 5.0, "sold_out")
CALLS = (ANN_BROKEN, ANN, ANN_AGAIN, BOB, ANN_TWICE, CAY)
BY_ANN, BY_BOB, BY_DAN = request("ann", "k1"), request("bob", "k2"), request("dan", "k5")


def kept(
    *requests: dict[str, Any], stock: int = 2, left: int = 0, settled_s: float = 12
) -> History:
    """The good calls, with this in the database."""
    return CALLS, Stored({"r": {"stock": stock, "stock_left": left}}, requests, settled_s)


def anns(**change: Any) -> History:
    """The good calls, with ann's request kept otherwise."""
    return kept({**BY_ANN, **change}, BY_BOB)


def called(old: Call, **change: Any) -> History:
    """What is kept of the good calls, with one of them otherwise."""
    return [replace(call, **change) if call is old else call for call in CALLS], GOOD[1]


def replied(**change: Any) -> History:
    return called(ANN_AGAIN, reply={**ANN_AGAIN.reply, **change})


GOOD = kept(BY_ANN, BY_BOB)
BAD = {
    "a grant that is lost": kept(BY_ANN, left=1),
    "one granted more than there is": kept(BY_ANN, BY_BOB, BY_DAN),
    "negative stock": kept(BY_ANN, BY_BOB, BY_DAN, left=-1),
    "a unit that vanished": kept(BY_ANN, BY_BOB, stock=3),
    "two for one user, both kept": kept(
        BY_ANN, BY_BOB, request("ann", "k3", public_id="id-2"), stock=3
    ),
    "two for one user, both acknowledged": replied(id="id-2"),
    "another reply to the same key": replied(decided_at="later"),
    "kept in another state than acknowledged": anns(status="pending"),
    "kept for another user": anns(user_id="eve"),
    "kept under another key": anns(user_key="ann:k9"),
    "work that is left": anns(op={"id": "o", "delta": -1}),
    "a request that stays undecided": kept(
        BY_ANN, BY_BOB, {**BY_DAN, "status": "working"}, stock=3
    ),
    "decided too late": kept(BY_ANN, BY_BOB, settled_s=60.5),
    "sold out before it was": called(CAY, start=0.1, end=1.2),
    "sold out though something is left": kept(BY_ANN, BY_BOB, stock=3, left=1),
    "granted, then sold out": called(ANN_TWICE, outcome="sold_out"),
    "already requested by nobody": called(CAY, outcome="already_requested"),
    "never answered": called(CAY, outcome=UNKNOWN),
    "an error that is no answer": called(CAY, outcome="internal_error"),
}


def test_a_good_history_has_no_violation() -> None:
    assert violations(*GOOD) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_found(name: str) -> None:
    assert violations(*BAD[name])
