"""The stack's configuration: parsed, checked by its own programs, in step with the rest."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from auth.settings import Settings as AuthSettings
from console.settings import ConsoleSettings
from event.settings import Settings as EventSettings
from gateway.settings import Settings as GatewaySettings
from seed.seeder import SeedSettings
from tests.ops.checks import program, run
from tests.ops.compose_file import COMPOSE, CORE, SERVICES
from tests.stack.programs import ROOT

# Where a program listens besides what compose says in `PORT` or publishes.
LISTENS = {
    "collector": {4317, 4318, 8888, 8889, 13133},
    "jaeger": {4317, 4318, 8888, 13133, 16685, 16686},
    "mongo": {27017},
    "redis": {6379},
    "loki": {3100},
    "loki-restore": {3100},
    "alloy": {12345},
    "mongodb-exporter": {9216},
    "redis-exporter": {9121},
    "docker-proxy": {2375},
    "mailpit": {1025, 8025},
    "console": {4318, 8080},
}


def listening(service: str) -> set[int]:
    """The ports of a service; none if compose has no such service."""
    definition = SERVICES.get(service, {})
    published = {int(str(port).rsplit(":", 1)[1]) for port in definition.get("ports", [])}
    port = definition.get("environment", {}).get("PORT")
    return published | LISTENS.get(service, set()) | ({int(port)} if port else set())


def configuration_files() -> list[Path]:
    return [
        *(ROOT / "telemetry").glob("*.*"),
        *(ROOT / "prometheus").rglob("*.yml"),
        *(ROOT / "grafana").rglob("*.yaml"),
        ROOT / "docker-compose.yml",
    ]


def test_compose_by_its_schema() -> None:
    run(program("docker-compose"), "-f", "docker-compose.yml", "--profile", "*", "config", "-q")


def test_prometheus() -> None:
    run(program("promtool"), "check", "config", "prometheus/prometheus.yml")


@pytest.mark.parametrize("name", ["loki.yaml", "loki-restore.yaml"])
def test_loki(loki_binary: Path, name: str) -> None:
    path = f"-config.file=telemetry/{name}"
    run(str(loki_binary), path, "-config.expand-env=true", "-verify-config")


@pytest.mark.parametrize("path", configuration_files(), ids=lambda path: path.name)
def test_hosts_and_ports_exist(path: Path) -> None:
    """`http://loki:3100` anywhere means that compose has `loki` and that it listens there."""
    assert path.suffix not in (".yml", ".yaml") or yaml.safe_load(path.read_text())
    text = re.sub(r"(?m)^\s*(#|//).*$", "", path.read_text())
    for host, port in re.findall(r"\b([a-z][a-z-]*[a-z]):(\d{4,5})\b", text):
        if host != "localhost":
            assert int(port) in listening(host), f"{path.name}: nothing listens on {host}:{port}"


def test_prometheus_scrapes_every_service() -> None:
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        for discovery in job.get("dns_sd_configs", []):
            (host,) = discovery["names"]
            assert discovery["port"] in listening(host)
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert {"gateway", "auth", "event", "collector", "jaeger", "loki"} <= jobs


def test_volumes_are_those_that_are_used() -> None:
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith("${")
    }
    assert used == set(COMPOSE["volumes"])


def names(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """Variables that a settings class reads."""
    found = {}
    for field, info in settings.model_fields.items():
        alias = info.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [field]
        found |= {str(choice).upper(): info for choice in choices}
    return found


SETTINGS: dict[str, type[BaseSettings]] = {
    "gateway": GatewaySettings,
    "auth": AuthSettings,
    "event": EventSettings,
    "console": ConsoleSettings,
    "seeder": SeedSettings,
}


@pytest.mark.parametrize("service", SETTINGS)
def test_variables_are_those_that_the_settings_read(service: str) -> None:
    of_otel = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_RESOURCE_ATTRIBUTES"}  # plainview reads them
    given = set(SERVICES[service]["environment"]) - of_otel
    plain = {name if name == "SEED_FILE" else name.removesuffix("_FILE") for name in given}
    for_all = set(COMPOSE["x-environment"])
    read = names(SETTINGS[service])
    assert plain - for_all <= set(read), plain - for_all - set(read)
    assert for_all - of_otel <= set().union(*map(names, SETTINGS.values()))
    required = {name for name, info in read.items() if info.is_required()}
    assert required <= plain, required - plain
    for name in plain:  # what is a secret comes as a file
        if name in read and "SecretStr" in str(read[name].annotation):
            assert f"{name}_FILE" in given


def test_what_runs_says_the_version_of_its_image() -> None:
    """New versions are marked on graphs by it: with the library's default none would ever be."""
    attributes = COMPOSE["x-environment"]["OTEL_RESOURCE_ATTRIBUTES"]
    image = COMPOSE["x-service"]["image"]
    assert attributes == image.replace("event-rewards:", "service.version=")
    platform = (ROOT / "deploy/kubernetes/base/platform.env").read_text()
    (version,) = re.findall(r"^OTEL_RESOURCE_ATTRIBUTES=service.version=(.+)$", platform, re.M)
    for name in SETTINGS.keys() - {"seeder"}:
        text = (ROOT / f"deploy/kubernetes/base/{name}.yaml").read_text()
        assert f"image: event-rewards:{version}\n" in text


def test_limits_add_up() -> None:
    memory = {name: int(s["mem_limit"].removesuffix("m")) for name, s in SERVICES.items()}
    assert all("cpus" in s for s in SERVICES.values())
    for name, service in SERVICES.items():  # Go's own bound leaves room below the kernel's
        soft = (service.get("environment") or {}).get("GOMEMLIMIT", "0MiB")
        assert int(soft.removesuffix("MiB")) < memory[name], name
    core = sum(memory[name] for name in CORE)
    everything = sum(memory[name] for name, s in SERVICES.items() if "profiles" not in s)
    assert core <= 2.2 * 1024
    assert everything <= 4 * 1024
    header = (ROOT / "docker-compose.yml").read_text()[:400]
    assert f"{core:,} MB for the core" in header
    assert f"{everything:,} MB for everything" in header


def test_published_on_loopback_only_and_pinned() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), name
        assert "container_name" not in service
        assert re.search(r":[v\d$]", service["image"]), f"{name} has no pinned tag"
        assert "latest" not in service["image"]
        assert service["logging"]["driver"] == ("none" if name == "vault" else "json-file")


def test_alloy_labels_are_the_closed_five() -> None:
    text = (ROOT / "telemetry/alloy.alloy").read_text()
    (labels,) = re.findall(r"stage\.labels \{\s*values = \{(.*?)\}", text, re.S)
    (metadata,) = re.findall(r"stage\.structured_metadata \{\s*values = \{(.*?)\}", text, re.S)
    found = [set(re.findall(r"(\w+)\s*=", block)) for block in (labels, metadata)]
    ids = {"request_id", "trace_id", "span_id", "user_id"}
    assert found == [{"component", "level", "log_type"}, ids]


def test_data_sources_link_to_each_other() -> None:
    text = (ROOT / "grafana/provisioning/datasources/datasources.yaml").read_text()
    sources = {source["uid"]: source for source in yaml.safe_load(text)["datasources"]}
    data = {uid: source["jsonData"] for uid, source in sources.items()}
    traces = data["jaeger"]
    for link, uid in (
        (traces["tracesToLogsV2"], "loki"),
        (traces["tracesToMetrics"], "prometheus"),
        (data["prometheus"]["exemplarTraceIdDestinations"][0], "jaeger"),
        (data["loki"]["derivedFields"][0], "jaeger"),
    ):
        assert link["datasourceUid"] == uid
    # Jaeger has the service's name in no tag: a query with it finds nothing
    asked = [traces["tracesToLogsV2"], *traces["tracesToMetrics"]["queries"]]
    assert not any("tags" in each["query"] for each in asked)
    # else the alert page shows each rule twice, and an error for a Loki that is not there
    for uid, source in sources.items():
        assert source["type"] == "jaeger" or data[uid]["manageAlerts"] is False, uid
