"""What is empty while all is well gives data once its fault is there.

EMPTY_WHEN_HEALTHY (asking.py) says what each test has to show; all come after the quiet time.
"""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.stack import panels
from tests.stack.asking import EMPTY_WHEN_HEALTHY, has_series, shows_data
from tests.stack.loki import Loki
from tests.stack.stack import ANSWER_S, Stack, send_traces, until
from tests.stack.traffic import Traffic
from tests.support.servers import EmbeddedMongo, free_port

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.timeout(900)]
Appears = Callable[[], None]
WEEKS = 14 * 24 * 3600


@pytest.fixture
def appears(request: pytest.FixtureRequest, stack: Stack, traffic: Traffic) -> Appears:
    """Waits until there is data of all that is listed for this test."""
    listed = [what for what, test in EMPTY_WHEN_HEALTHY.items() if test == request.node.name]
    named = {target.name: target for target in panels.targets()}

    def seen(what: str) -> bool:
        if what in named:
            return shows_data(stack, named[what], search=traffic.script.request_id)
        return has_series(stack, what)

    def wait() -> None:
        assert listed
        for what in listed:
            until(lambda what=what: seen(what), what=what)

    return wait


def test_lines_that_loki_refuses(loki: Loki, appears: Appears) -> None:
    """One is too old, which alarms nobody; the other has more labels than a stream may have."""
    now, many = time.time_ns(), {f"label_{number}": "x" for number in range(20)}
    for labels, at in (({"service": "event"}, now - WEEKS * 10**9), (many, now)):
        lines = {"streams": [{"stream": labels, "values": [[str(at), "refused"]]}]}
        url = f"{loki.url}/loki/api/v1/push"
        assert httpx.post(url, json=lines, timeout=ANSWER_S).status_code == 400
    appears()


def test_a_critical_alert_that_fires(
    stack: Stack, mongo: EmbeddedMongo, traffic: Traffic, appears: Appears
) -> None:
    """One piece more is left of a reward than there can be."""
    with MongoClient[dict[str, Any]](mongo.url) as client:
        rewards = client[f"event_{stack.trio.run_id}"].rewards
        which = {"_id": traffic.script.rewards["badge"]}
        (verdict,) = (each for each in panels.targets() if each.name == "overview: Verdict A")

        def verdicts() -> list[str]:
            return [row["value"][1] for row in stack.query(verdict.filled())]

        rewards.update_one(which, {"$inc": {"stock_left": 1}})
        try:
            appears()
            until(lambda: verdicts() == ["0"], what="a verdict of 0")
        finally:
            rewards.update_one(which, {"$inc": {"stock_left": -1}})
        until(lambda: not stack.query('ALERTS{alertname="ClaimInvariant"}'), what="its end")


def test_everything_listed_has_its_test() -> None:
    tests = {name for name in globals() if name.startswith("test_")}
    assert {*EMPTY_WHEN_HEALTHY.values(), "test_everything_listed_has_its_test"} == tests


def test_spans_that_jaeger_refuses(stack: Stack, appears: Appears) -> None:
    """Sent to where Jaeger takes questions: the answer is no, not later."""
    with stack.another_collector(stack.ports.jaeger_query_grpc) as address:
        send_traces(address, "refused", 20)
        appears()


def test_spans_that_find_the_queue_full(stack: Stack, appears: Appears) -> None:
    """As shipped it waits for room; this one has no room and does not wait."""
    queue = "exporters.otlp_grpc/jaeger.sending_queue"
    settings = [
        f"{queue}.{each}" for each in ("queue_size=1", "num_consumers=1", "block_on_overflow=false")
    ]
    with stack.another_collector(free_port(), *settings) as address:
        for _ in range(5):
            send_traces(address, "no-room", 20)
            time.sleep(1)
        appears()
