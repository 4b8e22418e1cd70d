"""docs/scaling.md: the arithmetic done once more, and its inputs where they are set."""

import math

import pytest
import yaml

from generate import pods, scaling
from tests.stack.programs import ROOT

AUTOSCALERS = ROOT / "deploy/kubernetes/components/autoscaling/autoscalers.yaml"


@pytest.mark.parametrize("users", scaling.USERS)
def test_what_users_need(users: int) -> None:
    read, claim, login = (scaling.MEASURED[kind] for kind in ("read", "claim", "sign-in"))
    for name in ("gateway", "auth", "event"):
        cpu = f"{name}_cpu_us"
        a_user = 20 * read[cpu] + 0.5 * claim[cpu] + 0.2 * login[cpu]  # us a day
        cores = users * a_user * 5 / (24 * 3600 * 1e6)
        assert scaling.cores(name, users) == pytest.approx(cores)
        assert scaling.pods(name, users) == max(2, math.ceil(cores / 0.6))
    lines = 20 * read["log_bytes"] + 0.5 * claim["log_bytes"] + 0.2 * login["log_bytes"]
    stored = 30 * users * lines / 1e9 / scaling.COMPRESSED
    assert scaling.stored_gb(users, 30) == pytest.approx(stored)


def test_one_redis_is_at_its_bound_with_so_many_users() -> None:
    scripts, users = scaling.one_redis()
    assert scaling.cores("redis", users) == pytest.approx(0.7, rel=0.001)
    assert scaling.at_peak("scripts", users) == pytest.approx(scripts, rel=0.001)


@pytest.mark.parametrize("name", pods.SERVICES)
def test_a_pod_asks_for_what_requests_cost(name: str) -> None:
    asked, needs = pods.ask(name), pods.sized_for() * pods.cost_us(name) / 1000
    assert 0 <= asked["cpu"] - needs < pods.CPU_STEP
    assert needs <= scaling.BUSY * 1000  # no pod is busier than when another one is added
    assert 0 <= asked["memory"] - scaling.PEAK_MIB[name] / 0.85 < pods.MEMORY_STEP


def test_autoscalers_allow_what_the_table_says() -> None:
    for scaler in yaml.safe_load_all(AUTOSCALERS.read_text()):
        spec = scaler["spec"]
        (metric,) = spec["metrics"]
        assert metric["resource"]["target"]["averageValue"] == f"{scaling.BUSY * 1000:.0f}m"
        most = max(scaling.pods(scaler["metadata"]["name"], users) for users in scaling.USERS)
        assert spec["minReplicas"] == 2
        assert spec["maxReplicas"] >= 2 * most
