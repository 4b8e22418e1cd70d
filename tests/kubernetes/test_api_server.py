"""Kubernetes' own API server takes every object, and every pod under `restricted`."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import httpx
import pytest

from ops import secrets
from tests.kubernetes.api_server import ApiServer, Json, api_server
from tests.ops import cluster
from tests.ops.cluster import OVERLAYS, WORKLOADS, objects, of_kind

pytestmark = pytest.mark.timeout(400)
NAMESPACE = "event-rewards"


@pytest.fixture(params=OVERLAYS)
def applied(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, ApiServer, list[httpx.Response]]]:
    """A server of its own for each overlay, and what it said of each object."""
    overlay: str = request.param
    with api_server(tmp_path) as server:
        server.define(cluster.schemas() / "crds")
        first = {"Namespace": 0, "ServiceAccount": 1}
        ordered = sorted(objects(overlay), key=lambda each: first.get(each["kind"], 2))
        yield overlay, server, [server.apply(each) for each in ordered]


def pod_of(workload: Json) -> Json:
    """As a controller makes it of a workload's template; a StatefulSet mounts its claims."""
    template = deepcopy(workload["spec"]["template"])
    template["spec"]["volumes"] += [
        {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for claim in workload["spec"].get("volumeClaimTemplates", [])
        for name in [claim["metadata"]["name"]]
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "namespace": NAMESPACE, "name": "one"},
        "spec": template["spec"],
    }


def test_the_server_takes_everything(
    applied: tuple[str, ApiServer, list[httpx.Response]], tmp_path: Path
) -> None:
    overlay, server, replies = applied
    for reply in replies:
        assert reply.status_code == 201, f"{reply.request.url}: {reply.text}"
        # of a workload it only warns; `restricted` would refuse its pods
        assert "warning" not in reply.headers, reply.headers.get_list("warning")

    pods = server.path("v1", "Pod", NAMESPACE)
    workloads = list(of_kind(overlay, *WORKLOADS))
    assert len(workloads) > 10
    for workload in workloads:
        made = server.http.post(pods, params={"dryRun": "All"}, json=pod_of(workload))
        assert made.status_code == 201, made.text

    rootful = pod_of(workloads[0])
    rootful["spec"]["securityContext"]["runAsNonRoot"] = False
    refused = server.http.post(pods, params={"dryRun": "All"}, json=rootful)
    assert refused.status_code == 403
    assert "restricted" in refused.text

    # once more: nothing is fought over, and nothing changes
    for thing in objects(overlay):
        reply = server.apply(thing)
        assert reply.status_code == 200, reply.text
    if overlay == "single":
        secrets.make(tmp_path / "secrets")
        for secret in json.loads(secrets.kubernetes(tmp_path / "secrets"))["items"]:
            secret["metadata"]["namespace"] = NAMESPACE
            assert server.apply(secret).status_code == 201
