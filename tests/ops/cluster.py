"""deploy/kubernetes as kustomize builds it, and what its objects mean to each other."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from generate.kubernetes import ANYWHERE, NAME
from tests.ops.checks import program
from tests.stack.programs import CACHE, ROOT
from tests.support.processes import ended

Json = dict[str, Any]

FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = ("single", "production")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
OURS = ("gateway", "auth", "event", "console")


def schemas() -> Path:
    """Where tests/stack/build puts the schemas."""
    program("kustomize")  # without it the test is skipped
    return sorted(CACHE.glob("kubernetes_schemas-*"))[-1]


def build(folder: Path) -> str:
    """What is applied, as kustomize prints it; AssertionError with its words if it refuses."""
    done = ended([program("kustomize"), "build", str(folder)], env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def objects(overlay: str) -> list[Json]:
    """Every object of an overlay."""
    return list(yaml.safe_load_all(build(FOLDER / "overlays" / overlay)))


def of_kind(overlay: str, *kinds: str) -> Iterator[Json]:
    return (each for each in objects(overlay) if each["kind"] in kinds)


def named(overlay: str, kind: str, name: str) -> Json:
    (found,) = (each for each in of_kind(overlay, kind) if each["metadata"]["name"] == name)
    return found


def containers(overlay: str) -> dict[str, tuple[Json, Json]]:
    """Each container by its name, with the specification of its pod; names are unique."""
    found: dict[str, tuple[Json, Json]] = {}
    for workload in of_kind(overlay, *WORKLOADS):
        pod = workload["spec"]["template"]["spec"]
        for container in pod["containers"]:
            assert container["name"] not in found
            found[container["name"]] = container, pod
    return found


def config(overlay: str, name: str) -> dict[str, str]:
    """The data of a ConfigMap, named without the hash that kustomize appends."""
    found = [
        each["data"]
        for each in of_kind(overlay, "ConfigMap")
        if name in (each["metadata"]["name"], each["metadata"]["name"].rpartition("-")[0])
    ]
    assert len(found) == 1, name
    return dict(found[0])


def variables(overlay: str, container: Json) -> dict[str, str]:
    """What a container finds in its environment, but for what comes from secrets and fields."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= config(overlay, source["configMapRef"]["name"].rpartition("-")[0])
    return found | {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}


def admits(overlay: str, source: str, target: str, port: int) -> bool:
    """Whether the policies let `source` open a connection to a port of `target`.

    As the API says: a pod that any policy selects for a direction is open in it only as far as one
    of them lets through. `ANYWHERE` as source or target has no labels, so only a rule without a
    peer is for it.
    """
    return _open(overlay, "Egress", source, target, port) and _open(
        overlay, "Ingress", target, source, port
    )


def _open(overlay: str, direction: str, pod: str, peer: str, port: int) -> bool:
    if pod == ANYWHERE:
        return True
    rules: list[Json] = []
    selected = False
    for policy in of_kind(overlay, "NetworkPolicy"):
        spec = policy["spec"]
        if direction in spec["policyTypes"] and _selects(spec["podSelector"], pod):
            selected = True
            rules += spec.get(direction.lower(), [])
    side = "from" if direction == "Ingress" else "to"
    return not selected or any(
        any(each["port"] == port and each.get("protocol", "TCP") == "TCP" for each in rule["ports"])
        and (side not in rule or any(_is_peer(each, peer) for each in rule[side]))
        for rule in rules
    )


def _selects(selector: Json, pod: str) -> bool:
    labels = selector.get("matchLabels", {})
    assert set(selector) <= {"matchLabels"}, "written for no other selector"
    assert set(labels) <= {NAME}, "written for no other label"
    return labels.get(NAME, pod) == pod


def _is_peer(peer: Json, pod: str) -> bool:
    if pod == ANYWHERE or set(peer) != {"podSelector"}:  # networks, and pods of other namespaces
        return False
    return _selects(peer["podSelector"], pod)
