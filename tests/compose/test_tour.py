"""The claim tour against a running stack, as its users meet it on port 8000."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.compose.stack import (
    JAEGER,
    PAGES,
    client,
    compose,
    eventually,
    newcomer,
    seed,
    signed_in,
    up_targets,
)


@pytest.fixture(scope="module")
def operator() -> Iterator[httpx.Client]:
    with signed_in(seed()["accounts"]["OPERATOR"]) as http:
        yield http


@pytest.fixture(scope="module")
def offer(operator: httpx.Client) -> dict[str, str]:
    """A running event: `event`, a reward for each way of approval, and one that nobody gets.

    One of each is in stock.
    """
    now = datetime.now(UTC)
    body = {
        "title": "Tour",
        "starts_at": (now - timedelta(minutes=1)).isoformat(),
        "ends_at": (now + timedelta(hours=1)).isoformat(),
        "status": "active",
    }
    event = operator.post("/events", json=body).raise_for_status().json()["id"]
    ids = {"event": event}
    for name, approval in (("automatic", "automatic"), ("manual", "manual"), ("left", "manual")):
        reward = {"name": name, "kind": "points", "stock": 1, "approval": approval}
        reply = operator.post(f"/events/{event}/rewards", json=reward).raise_for_status()
        ids[name] = reply.json()["id"]
    return ids


def claim(http: httpx.Client, reward: str, key: str = "tour-key-1") -> httpx.Response:
    return http.post(f"/rewards/{reward}/requests", headers={"Idempotency-Key": key})


def problem(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    document: dict[str, Any] = reply.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == reply.headers["X-Request-ID"]
    return document


def test_register_browse_join_claim(offer: dict[str, str]) -> None:
    with newcomer() as http:
        assert http.get("/auth/me").json()["roles"] == ["USER"]
        events = http.get("/events?status=active").json()["items"]
        assert offer["event"] in {event["id"] for event in events}
        problem(claim(http, offer["automatic"]), 409, "participation_required")
        assert http.post(f"/events/{offer['event']}/participations").status_code == 201
        first = claim(http, offer["automatic"])
        assert (first.status_code, first.json()["status"]) == (201, "approved")
        again = claim(http, offer["automatic"])
        assert again.json() == first.json()
        problem(claim(http, offer["automatic"], "tour-key-2"), 409, "already_requested")
        own = http.get("/reward-requests").json()["items"]
        assert [request["id"] for request in own] == [first.json()["id"]]
    with newcomer() as http:
        http.post(f"/events/{offer['event']}/participations")
        problem(claim(http, offer["automatic"]), 409, "sold_out")


def test_operator_approves(offer: dict[str, str], operator: httpx.Client) -> None:
    with newcomer() as http:
        http.post(f"/events/{offer['event']}/participations")
        request = claim(http, offer["manual"]).json()
        assert request["status"] == "pending"
        path = f"/reward-requests/{request['id']}"
        problem(http.patch(path, json={"status": "approved"}), 403, "forbidden")
        waiting = operator.get(f"/reward-requests?status=pending&event_id={offer['event']}").json()
        assert [item["id"] for item in waiting["items"]] == [request["id"]]
        assert operator.patch(path, json={"status": "approved"}).json()["status"] == "approved"
        assert http.get(path).json()["status"] == "approved"


def test_problems_and_request_ids() -> None:
    with client() as http:
        problem(http.get("/events"), 401, "token_missing")
        problem(http.get("/nothing"), 404, "not_found")
        problem(http.post("/auth/login", json={"email": "x"}), 422, "invalid_request")
        given = {"X-Request-ID": "tour.request-0001"}
        assert http.get("/events", headers=given).headers["X-Request-ID"] == given["X-Request-ID"]
        made = http.get("/events").headers["X-Request-ID"]
        assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", made)


def test_the_inside_is_not_reachable_through_the_gateway() -> None:
    with client() as http:
        base = str(http.base_url).removesuffix("/api/v1/")
        for path in ("/auth/metrics", "/event/health/ready", "/.well-known/jwks.json/.."):
            assert http.get(f"{base}{path}").status_code == 404


@pytest.mark.parametrize("job", ["gateway", "auth", "event", "collector", "jaeger"])
def test_prometheus_scrapes(job: str) -> None:
    eventually(lambda: up_targets(job))


@pytest.mark.usefixtures("loki_binary")
def test_prometheus_scrapes_loki() -> None:
    eventually(lambda: up_targets("loki"))


def test_a_refused_claim_is_a_trace_in_jaeger(offer: dict[str, str]) -> None:
    with newcomer() as http:
        refusal = problem(claim(http, offer["left"]), 409, "participation_required")

    def services() -> set[str]:
        reply = httpx.get(f"{JAEGER}/api/traces/{refusal['trace_id']}", timeout=10)
        traces = reply.json().get("data") or []
        return {
            process["serviceName"] for trace in traces for process in trace["processes"].values()
        }

    eventually(lambda: {"gateway", "event"} <= services(), 90)


@pytest.mark.usefixtures("loki_binary", "alloy_binary")
def test_lines_of_every_program_are_in_loki() -> None:
    """Collected from the engine by Alloy; those of mailpit and others are placeholders' here."""
    ask = "import httpx; print(httpx.get('http://loki:3100/loki/api/v1/label/service/values').text)"

    def services() -> set[str]:
        reply = compose("exec", "-T", "console", "python", "-c", ask)
        return set(json.loads(reply).get("data") or [])

    wanted = {"gateway", "auth", "event", "ready", "redis", "prometheus", "loki"}
    eventually(lambda: wanted <= services(), 90)


@pytest.mark.parametrize("page", PAGES)
def test_pages_answer(page: str) -> None:
    assert httpx.get(page).status_code == 200
