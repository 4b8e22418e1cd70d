"""A history of claims, as the clients saw them, and what must be true of it afterwards.

In the manner of Jepsen: clients record each attempt with its begin, end and outcome, whatever is
killed meanwhile. `violations` then compares the history with what the database holds in the end.
It knows nothing of how claims are made, only what the platform promises.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: an attempt whose effect the client does not know: it broke off, or was told to come again
UNKNOWN = "unknown"
GRANTED = "granted"
REFUSALS = frozenset({"sold_out", "already_requested"})
DECIDED_WITHIN_S = 60.0


@dataclass(frozen=True)
class Call:
    """One attempt. Times are seconds of one monotonic clock; `reply` is the body of a grant."""

    user: str
    reward: str
    key: str
    start: float
    end: float
    outcome: str
    reply: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """What the database holds once everything was repaired: rewards by ID, all their requests.

    A reward has `stock` and `stock_left`, a request `public_id`, `reward_id`, `user_id`,
    `user_key`, `status`, `decided_at` and, while something is left to be done, `op`.
    `settled_s` is the time from the last repair until nothing was left to be done.
    """

    rewards: Mapping[str, Mapping[str, Any]]
    requests: Sequence[Mapping[str, Any]]
    settled_s: float = 0.0


def violations(calls: Sequence[Call], stored: Stored) -> list[str]:
    """Each promise that this history breaks, in words; empty if all are kept."""
    return [
        *_books(stored),
        *_undecided(stored),
        *_at_most_one(calls, stored),
        *_lost(calls, stored),
        *_same_reply(calls),
        *_unanswered(calls),
        *_sold_out_too_early(calls, stored),
        *_forgotten(calls),
        *_refused_without_reason(calls),
    ]


def _holding(requests: Iterable[Mapping[str, Any]], reward: str) -> list[Mapping[str, Any]]:
    return [r for r in requests if r["reward_id"] == reward and r["status"] != "rejected"]


def _books(stored: Stored) -> Iterator[str]:
    """Granted and left add up to the stock, and neither is negative."""
    for reward_id, reward in stored.rewards.items():
        granted, left = len(_holding(stored.requests, reward_id)), reward["stock_left"]
        if left < 0:
            yield f"{reward_id}: stock left is {left}"
        if granted + left != reward["stock"]:
            yield f"{reward_id}: {granted} granted + {left} left is not {reward['stock']}"


def _undecided(stored: Stored) -> Iterator[str]:
    for request in stored.requests:
        if request["status"] == "working" or "op" in request:
            yield f"{request['public_id']}: never decided"
    if stored.settled_s > DECIDED_WITHIN_S:
        yield f"decided only {stored.settled_s:.1f} s after the last repair"


def _at_most_one(calls: Sequence[Call], stored: Stored) -> Iterator[str]:
    held: dict[tuple[str, str], set[str]] = defaultdict(set)
    for request in stored.requests:
        held[request["user_id"], request["reward_id"]].add(request["public_id"])
    for call in calls:
        if call.outcome == GRANTED:
            held[call.user, call.reward].add(call.reply["id"])
    for (user, reward), ids in held.items():
        if len(ids) > 1:
            yield f"{user} has {reward} {len(ids)} times: {sorted(ids)}"


def _lost(calls: Sequence[Call], stored: Stored) -> Iterator[str]:
    """What was acknowledged is there, as it was acknowledged."""
    by_id = {request["public_id"]: request for request in stored.requests}
    for call in calls:
        if call.outcome != GRANTED:
            continue
        request = by_id.get(call.reply["id"])
        if request is None:
            yield f"{call.user} was granted {call.reward} as {call.reply['id']}, which is lost"
            continue
        if (request["user_id"], request["reward_id"]) != (call.user, call.reward):
            yield f"{call.reply['id']}: granted to {call.user}, kept for {request['user_id']}"
        if request["user_key"] != f"{call.user}:{call.key}":
            yield f"{call.reply['id']}: granted under the key {call.key}, kept under another"
        for name in ("status", "decided_at"):
            if call.reply[name] != request[name]:
                yield f"{call.reply['id']}: {name} was {call.reply[name]}, is {request[name]}"


def _same_reply(calls: Sequence[Call]) -> Iterator[str]:
    """Every grant under one key is the same reply."""
    replies: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for call in calls:
        if call.outcome == GRANTED:
            replies[call.user, call.key].append(call.reply)
    for (user, key), given in replies.items():
        if any(reply != given[0] for reply in given):
            yield f"{user}: the key {key} got different replies"


def _unanswered(calls: Sequence[Call]) -> Iterator[str]:
    final: dict[tuple[str, str, str], bool] = defaultdict(bool)
    for call in calls:
        final[call.user, call.reward, call.key] |= call.outcome != UNKNOWN
        if call.outcome not in {UNKNOWN, GRANTED, *REFUSALS}:
            yield f"{call.user}: {call.outcome} is no answer to a claim"
    for (user, reward, key), answered in final.items():
        if not answered:
            yield f"{user} never got an answer for {reward} under {key}"


def _sold_out_too_early(calls: Sequence[Call], stored: Stored) -> Iterator[str]:
    """Nobody hears `sold_out` before so many claims that were granted had begun."""
    begun: dict[str, float] = {}  # by "user:key", as a request names it
    for call in calls:
        name = f"{call.user}:{call.key}"
        begun[name] = min(call.start, begun.get(name, call.start))
    for reward_id, reward in stored.rewards.items():
        starts = sorted(
            begun.get(request["user_key"], 0.0)
            for request in stored.requests
            if request["reward_id"] == reward_id
        )
        for call in calls:
            if call.reward == reward_id and call.outcome == "sold_out":
                taken = sum(start < call.end for start in starts)
                if taken < reward["stock"]:
                    yield f"{call.user}: sold out when at most {taken} were taken"


def _forgotten(calls: Sequence[Call]) -> Iterator[str]:
    """Who was granted a reward does not hear later that nothing is left."""
    granted: dict[tuple[str, str], float] = {}
    for call in calls:
        if call.outcome == GRANTED:
            known = granted.get((call.user, call.reward), call.end)
            granted[call.user, call.reward] = min(known, call.end)
    for call in calls:
        since = granted.get((call.user, call.reward))
        if call.outcome == "sold_out" and since is not None and call.start > since:
            yield f"{call.user}: granted {call.reward}, then told that it was sold out"


def _refused_without_reason(calls: Sequence[Call]) -> Iterator[str]:
    """`already_requested` needs an earlier claim of that user under another key."""
    for call in calls:
        if call.outcome == "already_requested" and not any(
            (other.user, other.reward) == (call.user, call.reward)
            and other.key != call.key
            and other.start < call.end
            for other in calls
        ):
            yield f"{call.user}: already requested, by nobody"
