"""The claim tour against a running stack, as its users meet it on port 8000.

What each answer has to be is asked of the services in tests/service: here they answer at all.
"""

import json

import httpx
import pytest

from tests.compose.stack import (
    API,
    GATEWAY,
    JAEGER,
    PAGES,
    claim,
    compose,
    newcomer,
    offer,
    up_targets,
)
from tests.support.waiting import until


def test_register_browse_join_claim() -> None:
    event, rewards = offer(one=1)
    token = newcomer()
    assert API.call("GET", "/auth/me", token)["roles"] == ["USER"]
    assert event in {
        each["id"] for each in API.call("GET", "/events?status=active", token)["items"]
    }
    API.call("POST", f"/events/{event}/participations", token)
    first = claim(token, rewards["one"])
    assert (first.status_code, first.json()["status"]) == (201, "approved")
    assert claim(token, rewards["one"]).json() == first.json()
    own = API.call("GET", "/reward-requests", token)["items"]
    assert [request["id"] for request in own] == [first.json()["id"]]
    late = newcomer()
    API.call("POST", f"/events/{event}/participations", late)
    refusal = claim(late, rewards["one"])
    assert (refusal.status_code, refusal.json()["code"]) == (409, "sold_out")
    assert refusal.json()["request_id"] == refusal.headers["X-Request-ID"]


def test_the_inside_is_not_reachable_through_the_gateway() -> None:
    for path in ("/auth/metrics", "/event/health/ready", "/.well-known/jwks.json/.."):
        assert httpx.get(f"{GATEWAY}{path}").status_code == 404


@pytest.mark.parametrize("job", ["gateway", "auth", "event", "collector", "jaeger"])
def test_prometheus_scrapes(job: str) -> None:
    until(lambda: up_targets(job))


@pytest.mark.usefixtures("loki_binary")
def test_prometheus_scrapes_loki() -> None:
    until(lambda: up_targets("loki"))


def test_a_refused_claim_is_a_trace_in_jaeger() -> None:
    _, rewards = offer(left=1)
    refusal = claim(newcomer(), rewards["left"]).json()
    assert refusal["code"] == "participation_required"

    def services() -> set[str]:
        reply = httpx.get(f"{JAEGER}/api/traces/{refusal['trace_id']}", timeout=10)
        traces = reply.json().get("data") or []
        return {
            process["serviceName"] for trace in traces for process in trace["processes"].values()
        }

    until(lambda: {"gateway", "event"} <= services(), 90)


@pytest.mark.usefixtures("loki_binary", "alloy_binary")
def test_lines_of_every_program_are_in_loki() -> None:
    """Collected from the engine by Alloy; those of mailpit and others are placeholders' here."""
    ask = "import httpx; print(httpx.get('http://loki:3100/loki/api/v1/label/service/values').text)"

    def services() -> set[str]:
        reply = compose("exec", "-T", "console", "python", "-c", ask)
        return set(json.loads(reply).get("data") or [])

    wanted = {"gateway", "auth", "event", "ready", "redis", "prometheus", "loki"}
    until(lambda: wanted <= services(), 90)


@pytest.mark.parametrize("page", PAGES)
def test_pages_answer(page: str) -> None:
    assert httpx.get(page).status_code == 200
