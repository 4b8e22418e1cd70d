"""Kubernetes' own API server takes every object, and every pod under `restricted`.

It is a real one on a real etcd, on loopback, without a cluster behind it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ops import secrets
from tests.ops import cluster
from tests.ops.cluster import OVERLAYS, WORKLOADS, objects, of_kind
from tests.stack.programs import Program, binary
from tests.support.servers import free_ports
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(400)
NAMESPACE = "event-rewards"
Json = dict[str, Any]


@dataclass
class ApiServer:
    """Applies objects as `kubectl apply --server-side` does; unknown fields are errors."""

    http: httpx.Client
    _plural: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    def path(self, version: str, kind: str, namespace: str) -> str:
        """Where objects of a kind are, by the server's own list."""
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._plural:
            for one in self.http.get(base).raise_for_status().json()["resources"]:
                if "/" not in one["name"]:
                    self._plural[version, one["kind"]] = one["name"], one["namespaced"]
        plural, namespaced = self._plural[version, kind]
        return f"{base}/namespaces/{namespace}/{plural}" if namespaced else f"{base}/{plural}"

    def apply(self, thing: Json) -> httpx.Response:
        """Server-side apply of one object."""
        metadata = thing["metadata"]
        where = self.path(thing["apiVersion"], thing["kind"], metadata.get("namespace", ""))
        return self.http.patch(
            f"{where}/{metadata['name']}",
            params={"fieldManager": "test", "fieldValidation": "Strict"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=yaml.safe_dump(thing),
        )

    def define(self, definitions: Path) -> None:
        """Custom resources, once the server serves them."""
        for path in sorted(definitions.iterdir()):
            definition = yaml.safe_load(path.read_text())
            assert self.apply(definition).status_code == 201, path.name
            spec = definition["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    where = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
                    until(lambda url=where: self.http.get(url).is_success, 60, where)


@contextmanager
def api_server(directory: Path) -> Iterator[ApiServer]:
    """It runs with the admission plugins of the default, Pod Security among them."""
    client, peer, port = free_ports(3)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "account.key").write_bytes(pem)
    (directory / "tokens").write_text("a-token,admin,1,system:masters\n")
    etcd = Program(
        "etcd",
        [
            str(binary("etcd")), f"--data-dir={directory / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        ],
        f"http://127.0.0.1:{client}/health",
        directory,
    )  # fmt: skip
    server = Program(
        "kube-apiserver",
        [
            str(binary("kube-apiserver")), f"--etcd-servers=http://127.0.0.1:{client}",
            "--bind-address=127.0.0.1", f"--secure-port={port}",
            f"--cert-dir={directory / 'certificates'}", f"--token-auth-file={directory / 'tokens'}",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={directory / 'account.key'}",
            f"--service-account-signing-key-file={directory / 'account.key'}",
        ],
        "",
        directory,
    )  # fmt: skip
    http = httpx.Client(
        base_url=f"https://127.0.0.1:{port}",
        verify=False,  # it signs its own certificate
        headers={"Authorization": "Bearer a-token"},
        timeout=30,
    )

    def up() -> bool:
        assert server.process
        assert server.process.poll() is None, server.log.read_text()[-3000:]
        try:
            return http.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    try:
        etcd.start()
        server.launch()
        until(up, 180, "the API server is ready")
        yield ApiServer(http)
    finally:
        http.close()
        server.stop()
        etcd.stop()


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
