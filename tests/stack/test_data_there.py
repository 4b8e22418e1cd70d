"""Every rule, panel and alert reads data of the live stack, and none of its selectors is a typo.

`vector(0)`, NaN and constants are not data. What is empty while all is well stands in
EMPTY_WHEN_HEALTHY, and the test of its fault shows it.
"""

import time
from datetime import datetime

import pytest

from monitoring import alerts, rules
from monitoring.settings import KIT
from plainview.kit import recording
from tests.stack import panels
from tests.stack.asking import (
    EMPTY_WHEN_HEALTHY,
    NOT_HERE,
    SOMETIMES,
    gives_data,
    has_series,
    is_of_loki,
    shows_data,
    without_series,
)
from tests.stack.stack import Stack, until
from tests.stack.traffic import Traffic
from tests.support import promql

pytestmark = pytest.mark.timeout(900)  # the first test of a session starts everything
RARE = {*EMPTY_WHEN_HEALTHY, *NOT_HERE, *SOMETIMES}


def evaluate_all(stack: Stack) -> None:
    """Every rule was evaluated from now on, without an error."""
    asked = time.time()
    declared = rules.groups()

    def evaluated() -> bool:
        return all(
            datetime.fromisoformat(rule["lastEvaluation"]).timestamp() > asked
            for rule in stack.rules()
        )

    until(evaluated, 180, "an evaluation of every rule")
    found = stack.rules()
    assert len(found) == sum(len(group["rules"]) for group in declared)
    assert [rule for rule in found if rule["health"] != "ok"] == []
    failures = stack.query("sum(prometheus_rule_evaluation_failures_total)")
    assert [row["value"][1] for row in failures] == ["0"]


def test_no_data_is_told_from_data(stack: Stack, traffic: Traffic) -> None:
    typo = 'sum(rate(http_requests_total{status=~"5.."}[5m])) or vector(0)'  # status_code
    missing = {'http_requests_total{status=~"5.."}', "vector(1)"}
    assert without_series(stack, [typo, "vector(1)", 'up{job="event"}']) == missing
    assert gives_data(stack, "up")
    assert not gives_data(stack, "up * NaN")
    alert = 'rate(up{job="event"}[5m] offset 1h) > 0.5 and up == 1 or absent(up{job="auth"}) == 1'
    assert promql.conditions(promql.parse(stack.prometheus_url, alert)) == [
        '(rate(up{job="event"}[300000ms]) and up)',
        'up{job="auth"}',
    ]


def test_rules_are_evaluated_with_two_replicas(stack: Stack, doubled: Traffic) -> None:
    two = 'count(up{service="event"} == 1) == 2'  # errors of doubled targets show here
    until(lambda: stack.query(two), what=two)
    evaluate_all(stack)


def test_rules_are_evaluated_with_one_replica(stack: Stack, doubled: Traffic) -> None:
    with stack.one_replica():
        evaluate_all(stack)


@pytest.fixture(scope="module")
def recorded(stack: Stack, doubled: Traffic) -> Traffic:
    """Every recording rule has given data; the long windows look every five minutes.

    The first rates may just have missed such a moment: five minutes to the next, then the rules of
    every minute, then those that read them.
    """

    def empty() -> list[str]:
        return sorted(name for name in recording.recorded(KIT) if not gives_data(stack, name))

    until(lambda: not empty(), 480, f"data of {empty()}")
    return doubled


def test_every_recording_rule_gives_data(stack: Stack, recorded: Traffic) -> None:
    exprs = [rule["expr"] for group in recording.groups(KIT) for rule in group["rules"]]
    constant = [expr for expr in exprs if expr.startswith("vector(")]  # the objectives
    assert len(constant) == len(KIT.slos)
    assert without_series(stack, set(exprs) - set(constant)) - RARE == set()


def test_every_alert_reads_data(stack: Stack, recorded: Traffic) -> None:
    """Its expression without the threshold, each branch of it, gives data."""
    alerts_read_data(stack, of_loki=False)


@pytest.mark.usefixtures("loki", "recorded")
def test_alerts_read_data_of_loki(stack: Stack) -> None:
    alerts_read_data(stack, of_loki=True)


def alerts_read_data(stack: Stack, *, of_loki: bool) -> None:
    url = stack.prometheus_url
    exprs = {alert.expr for alert in alerts.ALERTS if alert.name != "Watchdog"}
    missing = without_series(stack, exprs) - RARE
    assert {each for each in missing if is_of_loki(each) == of_loki} == set()
    branches = [each for expr in exprs for each in promql.conditions(promql.parse(url, expr))]
    healthy = [
        branch
        for branch in branches
        if is_of_loki(branch) == of_loki and not promql.selectors(promql.parse(url, branch)) & RARE
    ]
    assert healthy

    def empty() -> list[str]:
        return [branch for branch in healthy if not gives_data(stack, branch)]

    # a scrape that a busy machine misses makes its series vanish until the next one
    until(lambda: not empty(), what=f"data of {empty()}")


ASKED = {target.name: target for target in panels.targets() if target.source != "jaeger"}
OF_LOKI = {name for name, t in ASKED.items() if t.source == "loki" or is_of_loki(t.expr)}


def test_panels_ask_only_whom_the_stack_has() -> None:
    sources = {target.source for target in panels.targets()}
    assert sources <= {"prometheus", "loki", "jaeger"}
    logs = [each for each in ASKED.values() if each.source == "loki"]
    assert [each.name for each in logs if "vector(" in each.expr] == []


@pytest.mark.parametrize("name", sorted(set(ASKED) - OF_LOKI))
def test_panel_shows_data(name: str, stack: Stack, recorded: Traffic) -> None:
    shows(stack, ASKED[name], recorded.script.request_id)


@pytest.mark.usefixtures("loki")
@pytest.mark.parametrize("name", sorted(OF_LOKI))
def test_panel_of_loki_shows_data(name: str, stack: Stack, recorded: Traffic) -> None:
    shows(stack, ASKED[name], recorded.script.request_id)


def shows(stack: Stack, target: panels.Target, request_id: str) -> None:
    if target.source == "prometheus":
        assert without_series(stack, [target.filled(search=request_id)]) - RARE == set()
    if target.name not in RARE:
        # not in the moment of a missed scrape
        until(lambda: shows_data(stack, target, search=request_id), what=f"data of {target.name}")


def test_variables_have_values(stack: Stack, doubled: Traffic) -> None:
    for name, (series, label) in panels.label_queries().items():
        assert stack.get(f"label/{label}/values", **{"match[]": series}), name


@pytest.mark.usefixtures("doubled")
@pytest.mark.parametrize("what", sorted({*EMPTY_WHEN_HEALTHY, *NOT_HERE}))
def test_what_is_listed_as_empty_is_empty(stack: Stack, traffic: Traffic, what: str) -> None:
    if target := ASKED.get(what):
        assert not shows_data(stack, target, search=traffic.script.request_id)
    else:
        assert not has_series(stack, what)
