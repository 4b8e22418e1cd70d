"""Silence: nobody is called by a start, a rolling restart or twice the traffic.

These minutes are real; tests/ops/test_silence.py feeds promtool the half hour that they stand for.
"""

from itertools import pairwise

import pytest

from tests.stack.stack import Stack
from tests.stack.traffic import PER_SECOND, Traffic


@pytest.mark.timeout(900)
def test_only_the_watchdog_fires(
    stack: Stack, traffic: Traffic, quiet: tuple[float, float]
) -> None:
    begin, end = quiet
    assert end - begin >= 300
    fired = stack.history('ALERTS{alertstate="firing"}', begin, end)
    found = {row["metric"]["alertname"]: row for row in fired}
    sold_out = found.pop("StockExhausted")["metric"]  # of the script, on purpose
    assert (sold_out["event"], sold_out["reward"]) == ("autumn", "points")
    watched = [at for at, _ in found.pop("Watchdog")["values"]]
    assert watched[0] < stack.watched_from + 60
    assert watched[-1] > end - 15
    assert max(late - early for early, late in pairwise(watched)) <= 15
    assert found == {}


def test_there_was_something_to_be_silent_about(
    stack: Stack, traffic: Traffic, quiet: tuple[float, float]
) -> None:
    begin, end = quiet
    restarts = stack.history("sum(changes(process_start_time_seconds[10m]))", begin, end)
    assert max(float(value) for _, value in restarts[0]["values"]) >= len(stack.trio.services)
    rate = 'sum(rate(http_requests_total{service="gateway"}[1m]))'
    (before,) = stack.query(rate, traffic.doubled_at)
    (after,) = stack.history(rate, traffic.doubled_at + 60, end - 1)
    best = max(float(value) for _, value in after["values"])  # a busy machine answers fewer
    assert best > 1.5 * float(before["value"][1])
    assert traffic.script.answers["2xx"] > 0.7 * traffic.script.answers.total()
    # auth has one replica: its restart is felt, and the gateway's breaker stays open 10 s; one
    # of five requests is for auth, so one of three is too many
    felt_s = traffic.away_s["auth"] + 15
    assert 0 < traffic.script.answers["5xx"] < PER_SECOND / 3 * felt_s
