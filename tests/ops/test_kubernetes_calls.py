"""Network policies let through what programs are told to call, and nothing else."""

import itertools
import re
from collections.abc import Iterator

import pytest
import yaml

from auth.settings import Settings as AuthSettings
from console.settings import ConsoleSettings
from event.settings import Settings as EventSettings
from gateway.settings import Settings as GatewaySettings
from generate.kubernetes import ANYWHERE, NAME, OPS_PORT
from seed.seeder import SeedSettings
from tests.ops.checks import program
from tests.ops.cluster import OVERLAYS, WORKLOADS, Json, admits, config, of_kind, variables

Call = tuple[str, str, int]
READ = {
    "gateway": {*GatewaySettings.model_fields, "otel_exporter_otlp_endpoint"},
    "auth": {*AuthSettings.model_fields, "otel_exporter_otlp_endpoint"},
    "event": {*EventSettings.model_fields, "otel_exporter_otlp_endpoint"},
    "console": set(ConsoleSettings.model_fields),
    "seeder": set(SeedSettings.model_fields),
}
STORES = {"MONGO_URL": ("mongo", 27017), "REDIS_URL": ("redis", 6379)}
# What no configuration here says by a name: the API server, object storage, remote write, messages.
OUTSIDE = {
    "single": {("alloy", 443), ("alloy", 6443)},
    "production": {
        ("alloy", 443), ("alloy", 6443), ("prometheus", 443), ("prometheus", 6443),
        ("loki", 443), ("grafana", 443), ("grafana", 587),
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _there() -> None:
    program("kustomize")


def workloads(overlay: str) -> dict[str, Json]:
    return {
        each["spec"]["template"]["metadata"]["labels"][NAME]: each["spec"]["template"]["spec"]
        for each in of_kind(overlay, *WORKLOADS)
    }


def behind(overlay: str) -> dict[str, str]:
    """The pods behind each Service's name."""
    return {
        each["metadata"]["name"]: each["spec"]["selector"][NAME]
        for each in of_kind(overlay, "Service")
    }


def told(overlay: str, name: str, pod: Json) -> Iterator[tuple[str, int]]:
    """Host and port of everything that a container's variables and files name."""
    container = pod["containers"][0]
    for key, value in variables(overlay, container).items():
        plain = key.removesuffix("_FILE")
        if name in READ and plain.lower() not in READ[name]:
            continue
        if key.endswith("_LINK"):
            continue  # for browsers
        if store := next((STORES[word] for word in STORES if plain.endswith(word)), None):
            yield store
        yield from hosts(value)
    if name == "mongodb-exporter":  # by its secret
        yield STORES["MONGO_URL"]
    for volume in pod["volumes"]:
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        for source in sources:
            reference = source.get("configMap", {})
            file = (reference.get("name") or "").rpartition("-")[0]
            if file and not file.startswith(("grafana-dash", "grafana-alerting", "kube-root")):
                for text in config(overlay, file).values():
                    yield from hosts(re.sub(r"(?m)^\s*(#|//).*$", "", text))


def hosts(text: str) -> Iterator[tuple[str, int]]:
    for host, port in re.findall(r"\b([a-z][a-z0-9.-]*[a-z]):(\d{4,5})\b", text):
        yield host, int(port)
    # Prometheus and the Collector's agent name host and port apart
    for host, port in re.findall(r"names:\s*- (\S+)\s+type: A\s+port: (\d+)", text):
        yield host, int(port)
    for host, port in re.findall(r"hostname: \S+:-([\w-]+)\}\s+port: \S+:-(\d+)\}", text):
        yield host, int(port)


def scraped(overlay: str) -> Iterator[tuple[str, int]]:
    for monitor in of_kind(overlay, "ServiceMonitor", "PodMonitor"):
        name = monitor["spec"]["selector"]["matchLabels"][NAME]
        for endpoint in monitor["spec"].get("podMetricsEndpoints", []):
            yield name, endpoint["portNumber"]
        if monitor["kind"] == "ServiceMonitor":
            yield name, OPS_PORT


def expected(overlay: str) -> set[Call]:
    """Every connection that somebody is told to open."""
    services = behind(overlay)
    calls: set[Call] = {(ANYWHERE, "gateway", 8000)}
    for name, pod in workloads(overlay).items():
        for host, port in told(overlay, name, pod):
            if host in services:
                calls.add((name, services[host], port))
            elif port in (27017, 6379):
                calls.add((name, ANYWHERE, port))
    calls |= {("prometheus", name, port) for name, port in scraped(overlay)}
    calls |= {(name, ANYWHERE, port) for name, port in OUTSIDE[overlay]}
    return {call for call in calls if call[0] != call[1]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_policies_let_through_what_programs_call_and_no_more(overlay: str) -> None:
    wanted = expected(overlay)
    assert len(wanted) > 30  # else nothing was found to compare with
    names = {*workloads(overlay), "prometheus"}
    ports = {port for *_, port in wanted} | {80, 8080, 8090, 9200, 12379}
    pairs = itertools.permutations([*names, ANYWHERE], 2)
    let_through = {
        (source, target, port)
        for source, target in pairs
        for port in ports
        if admits(overlay, source, target, port)
    }
    assert let_through == wanted


def test_pods_may_ask_for_names_and_are_otherwise_shut() -> None:
    (policy,) = (
        each for each in of_kind("single", "NetworkPolicy") if not each["spec"]["podSelector"]
    )
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    (rule,) = policy["spec"]["egress"]
    assert {port["port"] for port in rule["ports"]} == {53}
    assert yaml.safe_dump(rule["to"]).count("kube-system") == 1
