"""What business panels show equals what the databases hold, whatever runs and has restarted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from auth.signals import CATALOGUE as AUTH
from event.signals import CATALOGUE as EVENT
from tests.stack import panels
from tests.stack.books import EXPECTED, Books
from tests.stack.conftest import Stack
from tests.stack.traffic import Traffic
from tests.support.servers import EmbeddedMongo
from tools import names

BUSINESS = {metric.name for catalogue in (AUTH, EVENT) for metric in catalogue.specs} | {
    "active_users",
    "active_users_by_day",
}


def is_business(target: panels.Target) -> bool:
    """All of users and events; of the others what names a metric of the business."""
    return target.dashboard in ("users", "events") or (
        target.dashboard == "overview" and bool(names.metrics_in(target.expr) & BUSINESS)
    )


TARGETS = {target.name: target for target in panels.targets() if is_business(target)}


def test_every_business_panel_is_compared() -> None:
    assert set(TARGETS) == set(EXPECTED)


@pytest.fixture(scope="module")
def books(stack: Stack, traffic: Traffic, mongo: EmbeddedMongo) -> Iterator[Books]:
    with MongoClient[dict[str, Any]](mongo.url) as client:
        run = stack.trio.run_id
        yield Books(client[f"auth_{run}"], client[f"event_{run}"], traffic.script)


def shown(stack: Stack, target: panels.Target) -> dict[tuple[str, ...], float]:
    """What the panel shows now: values by the values of its labels, in the labels' order."""
    return {
        tuple(value for name, value in sorted(row["metric"].items()) if name != "__name__"): float(
            row["value"][1]
        )
        for row in stack.query(target.filled())
    }


def compare(stack: Stack, books: Books, traffic: Traffic) -> None:
    """Gauges are read every 5 or 15 s and scraped every 5 s: equal within a minute, or wrong."""

    def wrong() -> dict[str, tuple[Any, Any]]:
        return {
            name: (found, expected)
            for name, target in TARGETS.items()
            if (found := shown(stack, target)) != (expected := EXPECTED[name](books))
        }

    with traffic.paused():
        deadline = time.monotonic() + 60
        while (left := wrong()) and time.monotonic() < deadline:
            time.sleep(2)
    assert left == {}  # panel: (shown, expected)


def test_with_two_replicas(stack: Stack, books: Books, traffic: Traffic) -> None:
    assert len(stack.query('up{service="event"} == 1')) == 2
    compare(stack, books, traffic)


def test_after_a_restart_of_each_process(stack: Stack, books: Books, restarted: Traffic) -> None:
    """Counters begin at zero again."""
    changed = 'changes(process_start_time_seconds{service!=""}[10m]) > 0'
    assert len(stack.query(changed)) == len(stack.trio.services)
    compare(stack, books, restarted)


def test_with_one_replica(stack: Stack, books: Books, restarted: Traffic) -> None:
    with stack.one_replica():
        compare(stack, books, restarted)
