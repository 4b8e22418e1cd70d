"""deploy/kubernetes: valid by its schemas, and in step with compose and the settings."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from generate import pods
from ops import secrets
from shared.serve import STOP_S
from shared.settings import ServiceSettings
from shared.web.transport import LOOK_S
from tests.ops import cluster
from tests.ops.checks import program, run
from tests.ops.cluster import FOLDER, OURS, OVERLAYS, containers, named, of_kind, variables
from tests.ops.compose_file import SERVICES, resolved
from tests.stack.programs import ROOT

COMPONENTS = ("autoscaling-in-flight", "ingress")  # those that no overlay has by itself
DNS_S = 5  # how long an answer of the cluster's DNS may be kept: CoreDNS' default
IMAGES = {service["image"] for service in SERVICES.values()}

STORAGE_SECRETS = {"LOKI_S3_ACCESS_KEY", "LOKI_S3_SECRET_KEY"}
NO_RIGHTS = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("there")


@pytest.fixture(scope="module")
def there() -> None:
    for name in ("kustomize", "kubectl-validate", "kubeconform"):
        program(name)


@pytest.fixture(scope="module")
def with_components(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay as its user writes it: production with the components that are left out there."""
    directory = tmp_path_factory.mktemp("overlay")
    here = lambda path: os.path.relpath(FOLDER / path, directory)  # noqa: E731
    kustomization = {
        "resources": [here("overlays/production")],
        "components": [here(f"components/{name}") for name in COMPONENTS],
        "namespace": "event-rewards",
    }
    (directory / "kustomization.yaml").write_text(json.dumps(kustomization))
    return directory


def validate(manifests: Path) -> None:
    where = cluster.schemas()
    known = (f"--local-schemas={where}", f"--local-crds={where / 'crds'}")
    run(program("kubectl-validate"), *known, str(manifests))
    files = f"-schema-location={where}/json/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    run(program("kubeconform"), "-strict", files, str(manifests))


@pytest.mark.parametrize("which", [*OVERLAYS, "components"])
def test_every_object_is_valid(which: str, tmp_path: Path, with_components: Path) -> None:
    overlay = with_components if which == "components" else FOLDER / "overlays" / which
    manifests = tmp_path / "all.yaml"
    manifests.write_text(cluster.build(overlay))
    validate(manifests)


def test_every_file_is_part_of_an_overlay(with_components: Path) -> None:
    """What no kustomization names would be applied by nobody."""
    for folder in {path.parent for path in FOLDER.rglob("*") if path.is_file()} - {FOLDER}:
        text = (folder / "kustomization.yaml").read_text()
        for path in folder.iterdir():
            assert path.is_dir() or path.name == "kustomization.yaml" or path.name in text, path
    for part in ("grafana", "prometheus", "telemetry"):
        text = (ROOT / part / "kustomization.yaml").read_text()
        for path in (ROOT / part).rglob("*.*"):
            name = str(path.relative_to(ROOT / part))
            docker = {"docker-proxy.cfg", "mongodb-exporter.Dockerfile", "alloy.alloy"}
            other = {"kustomization.yaml", "loki-restore.yaml", "prometheus.yml", *docker}
            assert name in text or name in other, f"{path} is in no ConfigMap"
    mounted = json.dumps(named("single", "StatefulSet", "grafana"))
    for path in (ROOT / "grafana/dashboards").iterdir():
        assert f"grafana-dashboard-{path.stem}-" in mounted


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_probed_bounded_and_has_no_rights(overlay: str) -> None:
    for name, (container, pod) in containers(overlay).items():
        probes = {"startupProbe", "livenessProbe", "readinessProbe"}
        assert probes <= set(container) or not container.get("ports"), name
        for bound in ("requests", "limits"):
            assert set(container["resources"][bound]) == {"cpu", "memory"}, name
        assert container["securityContext"] == NO_RIGHTS, name
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not any("hostPath" in volume for volume in pod["volumes"])
    for account in of_kind(overlay, "ServiceAccount"):
        token = account["metadata"]["name"] == "prometheus"  # its operator needs that
        assert account.get("automountServiceAccountToken", True) is token
    levels = named(overlay, "Namespace", "event-rewards")["metadata"]["labels"]
    assert levels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_our_pods_are_probed_on_the_port_of_their_own(overlay: str) -> None:
    for name in OURS:
        container, pod = containers(overlay)[name]
        assert container["command"] == ["python", "-m", name]  # one process
        (ops,) = (port for port in container["ports"] if port["name"] == "ops")
        assert str(ops["containerPort"]) == variables(overlay, container)["OPS_PORT"]
        for word, page in (("startup", "startup"), ("liveness", "live"), ("readiness", "ready")):
            asked = container[f"{word}Probe"]["httpGet"]
            assert asked == {"path": f"/health/{page}", "port": "ops"}
            assert container[f"{word}Probe"]["timeoutSeconds"] == 3  # as compose's checks
        spread = [each["topologyKey"] for each in pod["topologySpreadConstraints"]]
        assert spread == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_drain_fits_into_the_grace_period(overlay: str) -> None:
    drain = ServiceSettings.model_fields["drain_seconds"].default
    for name in OURS:
        container, pod = containers(overlay)[name]
        before: int = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        grace = pod["terminationGracePeriodSeconds"]
        compose = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace == before + compose
        assert before + STOP_S < grace  # the process is gone before it is killed
        # the gateway has looked the name up again, and the answer was not an old one
        assert before >= LOOK_S + DNS_S
        # Kubernetes looks often enough to see that a draining pod is not ready
        probe = container["readinessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] <= before + drain


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_service_leads_to_a_port_that_is_opened(overlay: str) -> None:
    opened = {
        workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]: {
            port["name"]: port["containerPort"]
            for container in workload["spec"]["template"]["spec"]["containers"]
            for port in container.get("ports", [])
        }
        for workload in of_kind(overlay, *cluster.WORKLOADS)
    }
    if overlay == "production":
        opened["prometheus"] = {"web": 9090}  # its operator makes the pods
    for service in of_kind(overlay, "Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        for port in spec.get("ports", []):
            ports = opened[spec["selector"]["app.kubernetes.io/name"]]
            assert ports[port["targetPort"]] == port["port"], f"{overlay}: {name}"
    for route in of_kind(overlay, "HTTPRoute", "Ingress"):
        assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "gateway", "port": 8000}]


def test_the_gateway_sees_each_replica() -> None:
    """It shares calls out over the addresses of a name, so the name has to give them all."""
    for name in ("auth", "event"):
        assert named("single", "Service", name)["spec"]["clusterIP"] == "None"


def plain(image: str) -> str:
    return image.removeprefix("registry.example.com/")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_those_of_compose(overlay: str) -> None:
    ours = {re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", image) for image in IMAGES}
    exporter = (ROOT / "telemetry/mongodb-exporter.Dockerfile").read_text()
    ours |= set(re.findall(r"FROM (\S+) AS program", exporter))
    for name, (container, _) in containers(overlay).items():
        assert plain(container["image"]) in ours, name
    for prometheus in of_kind(overlay, "Prometheus"):
        assert prometheus["spec"]["image"] in ours
        assert prometheus["spec"]["image"].endswith(f":{prometheus['spec']['version']}")


# What one machine and many do differently, and why.
OTHERWISE = {
    "OTEL_EXPORTER_OTLP_ENDPOINT",  # the agent of the node
    "SERVICES",  # the console asks OPS_PORT
    "HOST",  # the image says 0.0.0.0
    "OPS_PORT",
    "METRICS_ALLOW",
    "JAEGER_DATA_DIR",  # compose mounts a volume where the image may write
    "PROJECT",
    "NODE_NAME",
}


def test_a_container_is_told_what_compose_tells_it() -> None:
    compose = resolved("--profile", "*")["services"]
    for name, (container, _) in containers("single").items():
        if name == "collector-agent":
            continue  # compose has one tier
        given = variables("single", container)
        environment = compose[name].get("environment") or {}
        wanted = {key: str(value) for key, value in environment.items()}
        if name == "gateway":
            del wanted["TRUSTED_PROXIES"], given["TRUSTED_PROXIES"]  # what stands in front
        differ = {key for key in {*given, *wanted} if given.get(key, "") != wanted.get(key, "")}
        otherwise = {one["name"] for one in container.get("env", []) if "valueFrom" in one}
        told = {key: (given.get(key), wanted.get(key)) for key in differ - otherwise - OTHERWISE}
        assert told == {}, name
        if name not in ("mongo-users", "mongodb-exporter"):  # both have a shell in compose or here
            words = [*container.get("command", []), *container.get("args", [])]
            assert words == (compose[name].get("command") or []), name


def test_a_container_has_the_limits_of_compose() -> None:
    for name, (container, _) in containers("single").items():
        compose = SERVICES[name.replace("-agent", "")]
        limits = container["resources"]["limits"]
        assert limits["memory"] == f"{int(compose['mem_limit'].removesuffix('m'))}Mi", name
        assert float(limits["cpu"]) == compose["cpus"], name
        if name not in pods.SERVICES:
            assert container["resources"]["requests"]["memory"] == limits["memory"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_mounted_of_a_secret_is_in_it(overlay: str, tmp_path: Path) -> None:
    """Files that compose's own command makes, or that a comment in secrets.yaml promises."""
    secrets.make(tmp_path)
    made = {path.name: {file.name for file in path.iterdir()} for path in tmp_path.iterdir()}
    if overlay == "production":
        text = (FOLDER / "overlays/production/secrets.yaml").read_text()
        found = re.findall(r"  name: ([\w-]+) # (.*)", text)
        assert len(found) == len(list(of_kind(overlay, "ExternalSecret")))
        promised = {name: set(keys.split(", ")) for name, keys in found}
        assert all(promised[name] <= made[name] for name in promised.keys() & made.keys())
        made = promised
    for name, (container, pod) in containers(overlay).items():
        held = {v["name"]: v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        mounted = container["volumeMounts"]
        mounts = {m["mountPath"]: held[m["name"]] for m in mounted if m["name"] in held}
        for value in variables(overlay, container).values():
            if value.startswith("/secrets/"):
                folder, _, key = value.rpartition("/")
                assert key in made[mounts[folder]], f"{name}: {value}"
        for one in container.get("env", []):
            if reference := one.get("valueFrom", {}).get("secretKeyRef"):
                assert reference["key"] in made[reference["name"]]


def test_the_command_makes_all_of_them(tmp_path: Path) -> None:
    """`python -m ops.secrets kubernetes DIR` prints objects that the schemas know."""
    secrets.make(tmp_path)
    listed = json.loads(secrets.kubernetes(tmp_path))["items"]
    assert {each["metadata"]["name"] for each in listed} == set(secrets.OWNERS)
    manifests = tmp_path / "secrets.yaml"
    manifests.write_text(yaml.safe_dump_all(listed))
    validate(manifests)


# --- configuration of the programs around ---


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_programs_read_the_files_of_compose(overlay: str) -> None:
    # in production Loki keeps its lines elsewhere, see below
    names = {"single": ("collector", "collector-agent", "jaeger", "loki")}
    for name in names.get(overlay, ("collector", "collector-agent", "jaeger")):
        for file, text in cluster.config(overlay, name).items():
            assert text == (ROOT / "telemetry" / file).read_text()
    grafana = ROOT / "grafana"
    parts = {path: f"dashboard-{path.stem}" for path in (grafana / "dashboards").iterdir()}
    for path in (grafana / "provisioning").rglob("*.yaml"):
        parts[path] = "providers" if path.parent.name == "dashboards" else path.parent.name
    parts |= dict.fromkeys((grafana / "emails").iterdir(), "emails")
    for path, part in parts.items():
        assert cluster.config(overlay, f"grafana-{part}")[path.name] == path.read_text()


def test_prometheus_understands_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for file, text in cluster.config("single", "prometheus-rules").items():
        (tmp_path / "rules" / file).write_text(text)
    text = cluster.config("single", "prometheus")["prometheus.yml"]
    (tmp_path / "prometheus.yml").write_text(text)
    run(program("promtool"), "check", "config", str(tmp_path / "prometheus.yml"))


def test_monitors_find_what_they_scrape() -> None:
    for monitor in of_kind("production", "PodMonitor"):
        name = monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        if name != "prometheus":
            opened = {port["containerPort"] for port in containers("production")[name][0]["ports"]}
            assert endpoint["portNumber"] in opened
    for monitor in of_kind("production", "ServiceMonitor"):
        service = named("production", "Service", f"{monitor['metadata']['name']}-ops")
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()


def test_loki_is_told_where_its_object_storage_is() -> None:
    config = cluster.config("production", "loki")["loki.yaml"]
    told = {*cluster.config("production", "object-storage"), *STORAGE_SECRETS}
    assert set(re.findall(r"\$\{(LOKI_S3_\w+)\}", config)) == told


def test_both_tiers_of_the_collector(tmp_path: Path) -> None:
    for file in ("collector-agent.yaml", "collector.yaml"):
        config = f"--config=telemetry/{file}"
        run(program("otelcol"), "validate", config, COLLECTOR_QUEUE_DIR=str(tmp_path))
    agent = yaml.safe_load((ROOT / "telemetry/collector-agent.yaml").read_text())
    balanced = agent["exporters"]["load_balancing"]
    assert balanced["routing_key"] == "traceID"
    host = balanced["resolver"]["dns"]["hostname"].partition(":-")[2].rstrip("}")
    service = named("single", "Service", host)["spec"]
    assert service["clusterIP"] == "None"  # the name has an address for each pod
    assert named("single", "Service", "collector-agent")["spec"]["internalTrafficPolicy"] == "Local"
