"""examples/adopt: its stack is checked as far as that goes without an engine."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plainview.kit.documents import DASHBOARDS, RULES
from tests.ops.checks import program, run
from tests.ops.compose_file import SERVICES as MAIN
from tests.stack.programs import ROOT
from tests.support.processes import ended

FOLDER = ROOT / "examples" / "adopt"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
THEIRS = ("prometheus", "grafana", "jaeger", "loki", "alloy")


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_compose_by_its_schema() -> None:
    done = ended(
        [program("docker-compose"), "-f", "compose.yaml", "config", "--format", "json"], cwd=FOLDER
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    build = services["hello"]["build"]
    assert Path(build["context"]) == ROOT / "shared/observability"
    assert Path(build["context"], build["dockerfile"]).resolve() == FOLDER / "Dockerfile"
    mounted = [volume for each in services.values() for volume in each.get("volumes", [])]
    for volume in mounted:
        named = volume["type"] == "volume" or volume["target"] == "/var/run/docker.sock"
        assert named or Path(volume["source"]).exists(), volume


def test_images_are_those_of_the_whole_stack() -> None:
    for name in THEIRS:
        assert SERVICES[name]["image"] == MAIN[name]["image"], name
    assert {SERVICES[name]["image"] for name in SERVICES.keys() - THEIRS} == {"adopt-hello"}
    ours, theirs = (
        set(re.findall(r"(?m)^FROM (\S+)", (each / "Dockerfile").read_text()))
        for each in (FOLDER, ROOT)
    )
    assert ours <= theirs


def test_memory_is_bounded_and_ports_are_on_loopback() -> None:
    total = sum(int(service["mem_limit"].removesuffix("m")) for service in SERVICES.values())
    for text in ((FOLDER / "compose.yaml").read_text(), (FOLDER / "README.md").read_text()):
        assert f"{total:,} MB" in text
    for name, service in SERVICES.items():
        assert "cpus" in service, name
        assert service["logging"]["options"]["max-size"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        soft = service.get("environment", {}).get("GOMEMLIMIT", "0MiB")
        assert int(soft.removesuffix("MiB")) < int(service["mem_limit"].removesuffix("m"))


def test_the_kit_is_where_it_is_read() -> None:
    (provider,) = read("grafana/dashboards.yaml")["providers"]
    assert provider["options"]["path"] == f"/kit/{DASHBOARDS}"
    assert read("prometheus.yml")["rule_files"] == [f"/kit/{RULES}/*.yml"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"/kit/{DASHBOARDS}/overview.json"
    assert SERVICES["kit"]["command"][:4] == ["plainview", "kit", "--out", "/kit"]
    for name in ("prometheus", "grafana"):
        assert "kit:/kit:ro" in SERVICES[name]["volumes"]
        assert SERVICES[name]["depends_on"]["kit"]["condition"] == "service_completed_successfully"
    sources = read("grafana/datasources.yaml")["datasources"]
    assert {each["uid"]: each["type"] for each in sources} == {
        name: name for name in ("prometheus", "loki", "jaeger")
    }


def test_names_are_the_same_everywhere() -> None:
    (name,) = re.findall(r'service_name="(\w+)"', (FOLDER / "service.py").read_text())
    assert name in SERVICES
    jobs = {job["job_name"]: job for job in read("prometheus.yml")["scrape_configs"]}
    assert set(jobs) == {name, *THEIRS}
    (target,) = jobs[name]["static_configs"]
    environment = SERVICES[name]["environment"]["ENVIRONMENT"]
    assert target["labels"] == {"service": name, "environment": environment}
    assert SERVICES["alloy"]["environment"]["ENVIRONMENT"] == environment
    alloy = (FOLDER / "config.alloy").read_text()
    assert f"com.docker.compose.project={COMPOSE['name']}" in alloy
    texts = alloy + (FOLDER / "prometheus.yml").read_text()
    assert set(re.findall(r"\b([a-z]+):\d{4,5}\b", texts)) <= {*SERVICES, "localhost"}


def test_prometheus() -> None:
    run(program("promtool"), "check", "config", str(FOLDER / "prometheus.yml"))


def test_alloy_has_the_labels_of_the_whole_stack() -> None:
    texts = [(FOLDER / "config.alloy").read_text(), (ROOT / "telemetry/alloy.alloy").read_text()]
    for stage in ("labels", "structured_metadata", "static_labels"):
        ours, theirs = (
            re.sub(r"\s", "", re.findall(rf"stage\.{stage} \{{(.*?)\n\t\}}", text, re.S)[0])
            for text in texts
        )
        assert ours == theirs
    assert not re.search(r"(?m)^ +", texts[0]), "alloy fmt wants tabs"


def test_loki(loki_binary: Path) -> None:
    run(str(loki_binary), f"-config.file={FOLDER / 'loki.yaml'}", "-verify-config")


@pytest.mark.parametrize(
    "page", [FOLDER / "README.md", ROOT / "docs/plainview/kit.md"], ids=lambda p: p.name
)
def test_pages_name_what_there_is(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text):
        assert (page.parent / link).exists(), link
    said = ended([sys.executable, "-m", "plainview", "kit", "--help"]).stdout
    said += ended([sys.executable, "-m", "plainview", "check", "--help"]).stdout
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
        assert option in said or option == "--build", option
