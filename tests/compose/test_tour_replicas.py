"""Three replicas of event, one of them stopped, and how the gateway ends. Runs after the tour."""

import json
import time

from tests.compose.stack import API, claim, compose, newcomer, offer, run, up_targets
from tests.support.waiting import until

GRACE_S = 25  # stop_grace_period of docker-compose.yml


def containers(service: str) -> list[str]:
    return compose("ps", "-q", service).split()


def health(container: str) -> str:
    return run("docker", "inspect", "-f", "{{.State.Health.Status}}", container)


def test_scale_to_three_and_stop_one() -> None:
    compose("up", "-d", "--no-recreate", "--wait", "--scale", "event=3", timeout=240)
    replicas = containers("event")
    assert [health(container) for container in replicas] == ["healthy"] * 3
    before = until(lambda: (found := up_targets("event")) and len(found) == 3 and found)

    event, rewards = offer(one_each=100)
    run("docker", "stop", replicas[0])
    for _ in range(5):  # right after the stop, and with connections that were to it
        token = newcomer()
        API.call("POST", f"/events/{event}/participations", token)
        reply = claim(token, rewards["one_each"])
        assert (reply.status_code, reply.json()["status"]) == (201, "approved")
    assert run("docker", "inspect", "-f", "{{.State.ExitCode}}", replicas[0]) == "0"
    after = until(lambda: (found := up_targets("event")) and len(found) == 2 and found)
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
