"""docker-compose.yml: what a first `docker compose up` on anybody's machine depends on."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.ops.compose_file import COMPOSE, CORE, SERVICES, TEXT, resolved
from tests.stack.programs import ROOT

OWN = {name for name, s in SERVICES.items() if s["image"].startswith("event-rewards:")}
ALWAYS = {name for name, s in SERVICES.items() if "profiles" not in s}


def conditions(service: str) -> dict[str, str]:
    """What this service waits for: name to condition."""
    return {name: how["condition"] for name, how in SERVICES[service].get("depends_on", {}).items()}


def before(service: str) -> set[str]:
    """All services that compose starts before this one."""
    found = set(conditions(service))
    mode = SERVICES[service].get("network_mode", "")
    found |= {mode.removeprefix("service:")} if mode.startswith("service:") else set()
    return found.union(*(before(name) for name in found))


def test_one_service_builds_the_image_and_nobody_pulls_it() -> None:
    assert {name for name in OWN if "build" in SERVICES[name]} == {"setup"}
    assert SERVICES["setup"]["pull_policy"] == "build"  # after `git pull` the new code
    for name in OWN - {"setup"}:
        assert SERVICES[name]["pull_policy"] == "never", name
        assert "setup" in before(name) or name == "vault", name


def test_everybody_waits_for_what_setup_makes() -> None:
    for name, service in SERVICES.items():
        volumes = {volume.split(":")[0] for volume in service.get("volumes", [])}
        if volumes & {"secrets", "configuration"} and name not in ("setup", "vault"):
            assert "setup" in before(name), name
            assert conditions(name).get("setup", "") in ("", "service_completed_successfully")


def test_who_reads_the_configuration_starts_anew_with_a_new_one() -> None:
    """`git pull && docker compose up -d` would leave new services beside old rules otherwise."""
    for name, service in resolved("--profile", "*")["services"].items():
        reads = "configuration" in {volume.get("source") for volume in service.get("volumes") or []}
        if name != "setup":
            waits = service.get("depends_on") or {}
            assert waits.get("setup", {}).get("restart", False) is reads, name


def test_images_are_made_without_buildkit() -> None:
    assert "dockerfile_inline" not in TEXT
    files = [ROOT / "Dockerfile", *(ROOT / "telemetry").glob("*.Dockerfile")]
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    named = {
        "Dockerfile" if isinstance(build, str) else f"{build['context']}/{build['dockerfile']}"
        for build in builds
    }
    assert {(ROOT / name).resolve() for name in named} == set(files)
    for file in files:
        text = file.read_text()
        assert not re.search(r"--mount|--chmod|--link|<<EOF|^# *syntax", text, re.M), file.name


def test_no_file_of_the_host_is_mounted() -> None:
    """A strict umask, SELinux or a remote engine make no difference then."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            if "docker.sock" not in volume:
                assert volume.split(":")[0] in COMPOSE["volumes"], f"{name}: {volume}"


def test_the_docker_socket_is_behind_docker_proxy_alone() -> None:
    holders = {name for name, service in SERVICES.items() if ".sock" in str(service.get("volumes"))}
    assert holders == {"docker-proxy"}
    proxy = SERVICES["docker-proxy"]
    # rootless Docker and Podman have theirs elsewhere
    assert "${DOCKER_SOCKET:-/var/run/docker.sock}:/var/run/docker.sock:ro" in proxy["volumes"]
    assert "label=disable" in proxy["security_opt"]  # SELinux
    users = {name for name in SERVICES if "docker-api" in SERVICES[name].get("networks", [])}
    assert users == {"docker-proxy", "alloy", "ready", "core"}
    assert COMPOSE["networks"]["docker-api"] == {"internal": True}


def test_only_the_message_is_on_the_terminal() -> None:
    attached = {name for name, service in SERVICES.items() if service.get("attach", True)}
    assert attached == {"ready", "core"}


@pytest.mark.parametrize(("service", "all_of"), [("ready", ALWAYS), ("core", CORE)])
def test_the_message_waits_for_everything(service: str, all_of: set[str]) -> None:
    wanted = set(SERVICES[service]["command"][3:])
    started = {service, *before(service)} if service == "core" else ALWAYS
    assert wanted == started - {service}
    assert all_of - {service} <= wanted
    assert SERVICES[service]["environment"]["COLLECTOR_HEALTH"] == "http://collector:13133/"


def test_no_secret_can_reach_a_log() -> None:
    assert SERVICES["vault"]["logging"] == {"driver": "none"}
    for line in (ROOT / "Makefile").read_text().splitlines():
        assert "ops.secrets" not in line or (" run " in line and " vault " in line)


def test_mongodb_starts_on_kernels_of_today_and_has_its_users_first() -> None:
    mongo = SERVICES["mongo"]
    assert mongo["environment"] == {"GLIBC_TUNABLES": "glibc.pthread.rseq=1"}
    assert "--auth" in mongo["command"]
    for name in ("auth", "event"):
        assert conditions(name)["mongo-users"] == "service_completed_successfully"


def test_alloy_is_not_well_before_it_is_ready(tmp_path: Path) -> None:
    check = SERVICES["alloy"]["healthcheck"]["test"][-1]
    (tmp_path / "bash").write_text("")
    for answer, well in (("HTTP/1.0 503 Service Unavailable\r\n\r\nAlloy is not ready.", False),
                         ("HTTP/1.0 200 OK\r\n\r\nAlloy is ready.", True)):  # fmt: skip
        (tmp_path / "answer").write_text(answer)
        script = re.sub(r"exec 3<>\S+;", f"exec 3<{tmp_path}/answer;", check)
        script = script.replace(">&3", ">/dev/null")
        assert (subprocess.run(["bash", "-c", script], check=False).returncode == 0) is well


def in_compose() -> set[str]:
    return set(re.findall(r"\$\{(\w+)", re.sub(r"(?m)#.*$", "", TEXT))) - {"COMPOSE_PROJECT_NAME"}


def section(title: str) -> dict[str, str]:
    """Variables of a part of .env.example, with their values."""
    parts = re.split(r"(?m)^# === (.*) ===$", (ROOT / ".env.example").read_text())
    (text,) = (body for name, body in zip(parts[1::2], parts[2::2], strict=True) if title in name)
    return dict(re.findall(r"(?m)^#?([A-Z][A-Z_]+)=(.*)$", text))


def test_env_example_has_every_variable_of_compose() -> None:
    listed = section("docker compose")
    assert set(listed) == in_compose()
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert listed == {name: defaults.get(name, "") for name in listed}


def test_a_copy_of_env_example_changes_nothing(tmp_path: Path) -> None:
    assert resolved() == resolved("--env-file", ".env.example")


def test_variables_reach_what_they_are_for() -> None:
    config = resolved(DOCKER_SOCKET="/run/user/1000/docker.sock", GATEWAY_PORTS="18000")
    (socket,) = (v for v in config["services"]["docker-proxy"]["volumes"] if v["type"] == "bind")
    assert socket["source"] == "/run/user/1000/docker.sock"
    assert socket["read_only"] is True
    assert config["services"]["gateway"]["ports"][0]["published"] == "18000"


def test_a_value_of_env_in_single_quotes_arrives_as_it_is(tmp_path: Path) -> None:
    """As .env.example says; a bare `$` would be read as a variable."""
    (tmp_path / "env").write_text(r"SMTP_PASSWORD='pä$s @w#1 it\'s'")
    config = resolved("--env-file", str(tmp_path / "env"))
    # compose writes `$` as `$$`
    assert config["services"]["grafana"]["environment"]["GF_SMTP_PASSWORD"] == "pä$$s @w#1 it's"


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["-p", "mine"], {}), ([], {"COMPOSE_PROJECT_NAME": "mine"})]
)
def test_a_project_name_of_ones_own(arguments: list[str], environment: dict[str, str]) -> None:
    """`ready` and Alloy look for containers of this project."""
    config = resolved(*arguments, **environment)
    assert {config["services"][name]["environment"]["PROJECT"] for name in ("ready", "alloy")} == {
        config["name"]
    }
    assert "container_name" not in TEXT


def test_a_host_without_ipv6() -> None:
    """Nothing asks or listens by a name that may mean ::1, or at an IPv6 address."""
    for name, service in resolved("--profile", "*")["services"].items():
        assert "localhost" not in str(service.get("healthcheck")), name
        assert "localhost" not in str(service.get("command")), name
    for file in (ROOT / "telemetry").iterdir():
        lines = re.sub(r"(?m)^\s*(#|//).*$", "", file.read_text())
        assert not re.search(r"\[::|localhost", lines), file.name


def test_architectures_and_life_span_of_every_image_are_told() -> None:
    files = [ROOT / "Dockerfile", *(ROOT / "telemetry").glob("*.Dockerfile")]
    texts = "\n".join([TEXT, *(f.read_text() for f in (ROOT / "compose.tls.yml", *files))])
    used = set(re.findall(r"(?m)^(?:    image:|FROM) ([a-z0-9/_-]+:[^\s$]+)", texts))
    proven = (ROOT / "docs/proven.md").read_text().partition("## Images")[2]
    rows = re.findall(r"(?m)^\| `.*$", proven)
    listed = {
        image for row in rows for image in re.findall(r"[\w./-]+:[\w.-]+", row.split(" |")[0])
    }

    def plain(images: set[str]) -> set[str]:
        """Without setup's own; redis_exporter's tag has a shell, `-alpine`."""
        return {each.removesuffix("-alpine") for each in images if "event-rewards" not in each}

    assert plain(used) == plain(listed)
    assert all("arm64" in row for row in rows)


def test_files_keep_their_line_ends() -> None:
    """Docker Desktop on Windows copies them into Linux containers as they are checked out."""
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text().splitlines()
    names = subprocess.run(
        ["git", "ls-files", "-z", "--eol"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "i/crlf" not in names
    assert "i/mixed" not in names


def test_tls_in_front_of_the_gateway() -> None:
    files = ("-f", "docker-compose.yml", "-f", "compose.tls.yml")
    config = resolved(*files, DOMAIN="rewards.example.com")
    caddy, gateway = config["services"]["caddy"], config["services"]["gateway"]
    (edge,) = config["networks"]["edge"]["ipam"]["config"]
    assert gateway["environment"]["TRUSTED_PROXIES"] == edge["subnet"]
    assert set(caddy["networks"]) == {"edge"}  # reaches nothing but the gateway
    assert [name for name, s in config["services"].items() if "edge" in s.get("networks", {})] == [
        "caddy",
        "gateway",
    ]
    assert caddy["command"][-4:] == ["--from", "rewards.example.com", "--to", "gateway:8000"]
    wide = {
        (name, port["published"])
        for name, service in config["services"].items()
        for port in service.get("ports") or []
        if port.get("host_ip") != "127.0.0.1"
    }
    assert wide == {("caddy", "80"), ("caddy", "443")}
    with pytest.raises(AssertionError, match="the name of this machine"):
        resolved(*files)
