"""docs/scaling.md: the arithmetic done once more, and its inputs where they are set."""

import math

import pytest
import yaml

from generate import pods, scaling
from tests.stack.programs import ROOT

AUTOSCALERS = ROOT / "deploy/kubernetes/components/autoscaling/autoscalers.yaml"


@pytest.mark.parametrize("users", scaling.USERS)
def test_what_users_need(users: int) -> None:
    need = scaling.need(users)
    requests = users * (20 + 0.5 + 0.2)
    assert need.requests_a_day == pytest.approx(requests)
    assert need.peak == pytest.approx(requests / 24 / 3600 * 5)
    read, claim, login = (scaling.MEASURED[kind] for kind in ("read", "claim", "sign-in"))
    for name in ("gateway", "auth", "event"):
        cpu = f"{name}_cpu_us"
        a_user = 20 * read[cpu] + 0.5 * claim[cpu] + 0.2 * login[cpu]  # us a day
        cores = users * a_user * 5 / (24 * 3600 * 1e6)
        assert need.cores[name] == pytest.approx(cores)
        assert need.pods[name] == max(2, math.ceil(cores / 0.6))
    lines = 20 * read["log_bytes"] + 0.5 * claim["log_bytes"] + 0.2 * login["log_bytes"]
    assert need.log_gb_a_day == pytest.approx(users * lines / 1e9)
    assert need.stored_gb(30) == pytest.approx(30 * need.log_gb_a_day / scaling.COMPRESSED)
    assert need.spans_kept == pytest.approx(0.11 * need.spans)


def test_one_redis_is_at_its_bound_with_so_many_users() -> None:
    scripts, users = scaling.one_redis()
    need = scaling.need(users)
    assert need.redis_cores == pytest.approx(0.7, rel=0.001)
    assert need.scripts == pytest.approx(scripts, rel=0.001)


def test_autoscalers_allow_what_the_table_says() -> None:
    for scaler in yaml.safe_load_all(AUTOSCALERS.read_text()):
        spec = scaler["spec"]
        (metric,) = spec["metrics"]
        assert metric["resource"]["target"]["averageValue"] == f"{scaling.BUSY * 1000:.0f}m"
        most = max(scaling.need(users).pods[scaler["metadata"]["name"]] for users in scaling.USERS)
        assert spec["minReplicas"] == 2
        assert spec["maxReplicas"] >= 2 * most


def test_the_page_has_what_was_computed() -> None:
    for path, text in pods.generated().items():
        assert (ROOT / path).read_text() == text, f"{path}: run make generate"
    assert "| 10,000,000 |" in scaling.need_table()
