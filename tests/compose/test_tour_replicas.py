"""Three replicas of event, one of them stopped, and how the gateway ends. Runs after the tour."""

import json
import time
from datetime import UTC, datetime, timedelta

from tests.compose.stack import compose, eventually, newcomer, run, seed, signed_in, up_targets

GRACE_S = 25  # stop_grace_period of docker-compose.yml


def containers(service: str) -> list[str]:
    return compose("ps", "-q", service).split()


def health(container: str) -> str:
    return run("docker", "inspect", "-f", "{{.State.Health.Status}}", container)


def test_scale_to_three_and_stop_one() -> None:
    compose("up", "-d", "--no-recreate", "--wait", "--scale", "event=3", timeout=240)
    replicas = containers("event")
    assert [health(container) for container in replicas] == ["healthy"] * 3
    before = eventually(lambda: (found := up_targets("event")) and len(found) == 3 and found)

    with signed_in(seed()["accounts"]["OPERATOR"]) as operator:
        now = datetime.now(UTC)
        body = {
            "title": "Replicas",
            "starts_at": (now - timedelta(minutes=1)).isoformat(),
            "ends_at": (now + timedelta(hours=1)).isoformat(),
            "status": "active",
        }
        event = operator.post("/events", json=body).raise_for_status().json()["id"]
        reward = {"name": "One each", "kind": "points", "stock": 100}
        reply = operator.post(f"/events/{event}/rewards", json=reward).raise_for_status()
        path = f"/rewards/{reply.json()['id']}/requests"

        run("docker", "stop", replicas[0])
        for _ in range(5):  # right after the stop, and with connections that were to it
            with newcomer() as http:
                http.post(f"/events/{event}/participations").raise_for_status()
                reply = http.post(path, headers={"Idempotency-Key": "replica-key"})
                assert (reply.status_code, reply.json()["status"]) == (201, "approved")
        operator.patch(f"/events/{event}", json={"status": "closed"})
    assert run("docker", "inspect", "-f", "{{.State.ExitCode}}", replicas[0]) == "0"
    after = eventually(lambda: (found := up_targets("event")) and len(found) == 2 and found)
    assert after < before


def test_the_gateway_stops_within_its_grace_period() -> None:
    (gateway,) = containers("gateway")
    began = time.monotonic()
    compose("stop", "gateway")
    assert time.monotonic() - began < GRACE_S
    state = json.loads(run("docker", "inspect", "-f", "{{json .State}}", gateway))
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    assert "server.draining" in run("docker", "logs", gateway)
    compose("up", "-d", "--no-recreate", "--wait", "gateway", timeout=120)
