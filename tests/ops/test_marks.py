"""The marks on all graphs, in Prometheus' own words: a new version, and what is none."""

from pathlib import Path

from plainview.kit.board import marks
from tests.ops.checks import gives
from tests.stack.panels import fill

EXPRS = {mark["name"]: fill(mark["expr"]) for mark in marks()}


def test_a_new_version_is_marked_once_and_a_first_start_or_a_restart_is_not(tmp_path: Path) -> None:
    """`shop` gets 2.0 after 20 minutes, `till` comes then for the first time, `desk` restarts,
    `mart` goes back from 2.0 after 34, `both` runs two versions all the time."""
    runs = [
        ("shop", "one", "1.0", "1x20 stale"),
        ("shop", "two", "1.0", "1x22 stale"),
        ("shop", "one", "2.0", "_x20 1x40"),
        ("shop", "two", "2.0", "_x22 1x40"),
        ("till", "three", "1.0", "_x20 1x40"),
        ("desk", "four", "1.0", "1x20 stale"),
        ("desk", "five", "1.0", "_x23 1x40"),
        ("mart", "six", "2.0", "1x34 stale"),
        ("mart", "six", "1.0", "_x34 1x40"),
        ("both", "seven", "1.0", "1x60"),
        ("both", "eight", "2.0", "1x60"),
    ]
    info = 'service_info{environment="local",service="%s",instance="%s",version="%s"}'
    series = {info % (name, at, version): values for name, at, version, values in runs}
    # when they were first seen: in minutes
    shop = {'{service="shop",version="2.0"}': 20 * 60_000}
    mart = {'{service="mart",version="1.0"}': 34 * 60_000}
    found = {10: {}, 19: {}, 22: shop, 29: shop, 33: {}, 36: mart, 43: mart, 50: {}}
    cases = [(EXPRS["New versions"], f"{at}m", samples) for at, samples in found.items()]
    gives(tmp_path, "1m", series, cases)


def test_a_critical_alert_is_marked_where_it_began_in_steps_of_any_length(tmp_path: Path) -> None:
    """Pending from minute 5, firing from 7 to 9; what only was pending is not marked."""
    down = 'alertname="ServiceDown",service="auth",severity="critical"'
    near = 'alertname="NotReady",service="auth",severity="critical"'
    series = {
        f"ALERTS_FOR_STATE{{{down}}}": "_x5 300x4 stale",
        f'ALERTS{{alertstate="pending",{down}}}': "_x5 1x1 stale",
        f'ALERTS{{alertstate="firing",{down}}}': "_x7 1x2 stale",
        f"ALERTS_FOR_STATE{{{near}}}": "_x5 300x4 stale",
        f'ALERTS{{alertstate="pending",{near}}}': "_x5 1x4 stale",
    }
    marked = {'{alertname="ServiceDown",service="auth"}': 300_000}
    found = {5: {}, 8: marked, 20: marked, 30: {}}
    cases = [(EXPRS["Critical alerts"], f"{at}m", samples) for at, samples in found.items()]
    gives(tmp_path, "1m", series, cases)
