"""What business panels show equals what the databases hold, whatever runs and has restarted."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from tests.stack import panels
from tests.stack.books import RANGE_S, Books
from tests.stack.expected import BY_HOUR, EXPECTED
from tests.stack.loki import Loki
from tests.stack.stack import Stack, until
from tests.stack.traffic import Traffic
from tests.support.servers import EmbeddedMongo

pytestmark = pytest.mark.timeout(600)  # the first test of a session starts everything
TARGETS = panels.of_the_business()  # tests/ops compares them with EXPECTED


@pytest.fixture(scope="module")
def books(stack: Stack, traffic: Traffic, mongo: EmbeddedMongo) -> Iterator[Books]:
    with MongoClient[dict[str, Any]](mongo.url) as client:
        run = stack.trio.run_id
        yield Books(client[f"auth_{run}"], client[f"event_{run}"], traffic.script, stack.zone)


def shown(stack: Stack, target: panels.Target) -> dict[tuple[str, ...], float]:
    """What the panel shows now: values by the values of its labels, in the labels' order."""
    expr, at = target.filled(__rate_interval=f"{RANGE_S}s"), None
    if label := BY_HOUR.get(target.name):
        expr, at = f"sum by ({label}) ({expr})", math.ceil(time.time() / 60) * 60
    found = {}
    for row in stack.query(expr, at):
        labels = sorted(row["metric"].items())
        key = tuple(value for name, value in labels if name != "__name__")
        found[key] = float(row["value"][1])
    return found


def late(stack: Stack, since: float) -> bool:
    """Whether at the end of some minute the last scrape of a service was longer ago than 5 s.

    What came since that one is in no step of the panels by hour, whose steps overlap by 5 s.
    """
    watched = 'count(count_over_time(up{service!=""}[%s]))'
    missed = f"{watched % '5s'} < {watched % '20s'} or absent({watched % '5s'})"
    begin = math.ceil(since / 60) * 60
    return begin < time.time() and bool(stack.history(missed, begin, time.time(), 60))


def compare(stack: Stack, books: Books, traffic: Traffic) -> None:
    """Gauges are read every 5 or 15 s and scraped every 5 s: equal within a minute, or wrong.

    Two minutes are given: a busy machine reads and scrapes late, and what happened in the last
    five minutes changes while the script's minute is leaving them.
    """

    def wrong() -> dict[str, tuple[Any, Any]]:
        books.late = late(stack, books.script.began_at)
        return {
            name: (found, wanted)
            for name, target in TARGETS.items()
            if (found := shown(stack, target)) != (wanted := EXPECTED[name](books))
        }

    with traffic.paused():
        deadline = time.monotonic() + 120
        while (left := wrong()) and time.monotonic() < deadline:
            time.sleep(2)
    assert left == {}  # panel: (shown, expected)


def test_with_two_replicas(stack: Stack, books: Books, traffic: Traffic) -> None:
    until(lambda: len(stack.query('up{service="event"} == 1')) == 2, what="two replicas")
    compare(stack, books, traffic)
    # what a panel that sums replicas would show
    twice = f"sum(events_active) == {2 * len(books.running())}"
    until(lambda: stack.query(twice), what=twice)


def test_the_last_reward_requests_are_those_of_the_database(
    loki: Loki, books: Books, traffic: Traffic
) -> None:
    named = {each.name: each for each in panels.targets()}
    target = named["overview: Last reward requests A"]

    def lines() -> Counter[tuple[str, str]]:
        return Counter(
            (line["labels"]["event"].removeprefix("reward."), line["labels"]["status"])
            for line in loki.lines(target.filled())
        )

    with traffic.paused():
        decided = books.by("status", decided_by={"$exists": True})
        stored = {
            ("claimed", "approved"): books.count("requests", approval="automatic"),
            ("claimed", "pending"): books.count("requests", approval="manual"),
            **{("decided", status): number for status, number in decided.items()},
            ("refused", "refused"): sum(books.refused().values()),
        }
        until(lambda: lines() == stored, what=f"{stored} in {lines()}")


def test_after_a_restart_of_each_process(stack: Stack, books: Books, restarted: Traffic) -> None:
    """Counters begin at zero again."""
    books.restarted = True
    changed = 'changes(process_start_time_seconds{service!=""}[10m]) > 0'
    assert len(stack.query(changed)) == len(stack.trio.services)
    compare(stack, books, restarted)


def test_with_one_replica(stack: Stack, books: Books, restarted: Traffic) -> None:
    with stack.one_replica():
        compare(stack, books, restarted)
