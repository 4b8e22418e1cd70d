"""Life after the first day: backup, restore and rotation against the running stack. Runs last."""

from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.compose.stack import API, GRAFANA, compose, run, seed
from tests.support.processes import ROOT, ended

pytestmark = pytest.mark.timeout(1200)  # all containers are started anew several times
SECRETS = {
    "grafana": "/secrets/grafana/admin_password",
    "console": "/secrets/console/token",
    "event": "/secrets/event/mongo_url",
    "auth": "/secrets/auth/signing_key",
    "gateway": "/secrets/gateway/redis_url",
}


def make(*arguments: str) -> None:
    done = ended(["make", *arguments], 400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def secrets() -> dict[str, str]:
    return {
        service: compose("exec", "-T", service, "cat", path) for service, path in SECRETS.items()
    }


def registered() -> dict[str, str]:
    account = {"email": f"{uuid4().hex}@example.com", "password": uuid4().hex}
    API.call("POST", "/auth/register", json={**account, "display_name": "Late"})
    return account


def started(*services: str) -> dict[str, str]:
    """When the container of each of these was started, as the engine has it."""
    look = ("docker", "inspect", "-f", "{{.State.StartedAt}}")
    return {service: run(*look, compose("ps", "-q", service)) for service in services}


def test_after_a_pull_one_command_runs_the_new_code_and_the_new_configuration() -> None:
    """What reads the configuration starts anew with it; the databases go on."""
    file = ROOT / "telemetry/collector.yaml"
    before, text = started("gateway", "collector", "prometheus", "mongo", "redis"), file.read_text()
    try:
        file.write_text(text + "# pulled\n")
        compose("up", "-d", "--wait", timeout=600)
    finally:
        file.write_text(text)
    there = compose("exec", "-T", "prometheus", "tail", "-n", "1", "/configuration/collector.yaml")
    assert there == "# pulled"
    after = started(*before)
    assert {name for name in before if before[name] == after[name]} == {"mongo", "redis"}


def test_a_restored_backup_is_the_state_of_then(tmp_path: Path) -> None:
    operator, before = seed()["accounts"]["OPERATOR"], secrets()
    early = registered()
    make("backup", f"TO={tmp_path / 'backup'}")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "backup").iterdir()} == {0}
    late = registered()
    make("rotate")
    make("restore", f"FROM={tmp_path / 'backup'}", "YES=1")
    assert secrets() == before
    assert API.token(early)
    assert API.token(operator)
    assert not API.token(late)


def test_rotation_gives_new_secrets_and_keeps_who_is_signed_in() -> None:
    operator, before = seed()["accounts"]["OPERATOR"], secrets()
    token = API.token(operator)
    make("rotate")
    after = secrets()
    assert [service for service in SECRETS if after[service] == before[service]] == []
    assert API.call("GET", "/auth/me", token)  # a token of the key before
    assert API.token(operator)
    reply = httpx.get(f"{GRAFANA}/api/user", auth=("admin", after["grafana"]), timeout=10)
    assert reply.status_code == 200
    if not reply.headers.get("Content-Type", "").startswith("application/json"):  # the stand-in
        assert compose("exec", "-T", "grafana", "cat", "/var/lib/grafana/told") == after["grafana"]
