"""`python -m auth` and its commands as processes."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from auth.__main__ import cli
from ops.secrets import new_signing_key
from tests.support.auth_app import auth_settings
from tests.support.trio import Service

PASSWORD = "tall blue giraffes"


@pytest.fixture
def auth(mongo_url: str, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    database = f"auth_{uuid4().hex[:12]}"
    service = Service(
        "auth",
        tmp_path / "log",
        MONGO_URL=mongo_url,
        MONGO_DATABASE=database,
        REDIS_URL=redis_url,
        AUTH_SIGNING_KEY=new_signing_key(),
    )
    yield service
    service.kill()


@pytest.fixture
def url(auth: Service) -> Iterator[str]:
    auth.start().wait_ready()
    yield auth.url
    assert auth.terminate() == 0


@pytest.fixture
def commands(auth: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find what the service has in its environment."""
    for name, value in auth.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("commands")
def test_administrators_are_made_by_command(url: str) -> None:
    login = {"email": "root@example.com", "password": PASSWORD}
    assert httpx.post(f"{url}/api/v1/auth/login", json=login).status_code == 401  # none by default

    def create(email: str, password: str) -> tuple[int, str]:
        variables = {"AUTH_ADMIN_PASSWORD": password}
        result = CliRunner().invoke(cli, ["create-admin", "--email", email], env=variables)
        return result.exit_code, result.output + str(result.exception)

    weak = create("root@example.com", "password1")
    assert weak[0] == 1
    assert "password1" not in weak[1]
    assert create("Root@example.com", PASSWORD)[0] == 0
    again = create("root@example.com", PASSWORD)
    assert again[0] == 1
    assert "registered already" in again[1]
    token = httpx.post(f"{url}/api/v1/auth/login", json=login).json()["access_token"]
    me = httpx.get(f"{url}/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}).json()
    assert me["roles"] == ["ADMIN", "USER"]
    disable = ["disable", "--email", "Root@example.com"]
    last = CliRunner().invoke(cli, disable)
    assert (last.exit_code, str(last.exception)) == (1, "This is the last administrator")
    assert create("second@example.com", PASSWORD)[0] == 0
    assert CliRunner().invoke(cli, disable).exit_code == 0
    assert httpx.post(f"{url}/api/v1/auth/login", json=login).status_code == 403
    assert CliRunner().invoke(cli, ["disable", "--email", "nobody@example.com"]).exit_code == 1


def test_a_password_is_no_argument() -> None:
    arguments = ["create-admin", "--email", "a@example.com", "--password", PASSWORD]
    assert CliRunner().invoke(cli, arguments).exit_code == 2


def test_a_generated_key_is_one_to_start_with() -> None:
    key = CliRunner().invoke(cli, ["generate-key"]).output
    assert re.fullmatch(r"-----BEGIN PRIVATE KEY-----\n\S+\n-----END PRIVATE KEY-----\n", key)
    assert auth_settings(auth_signing_key=key)


@pytest.mark.usefixtures("commands")
def test_a_prompted_password_and_one_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    arguments = ["create-admin", "--email", "a@example.com"]
    from_file = CliRunner().invoke(cli, [*arguments, "--password-file", str(file)])
    assert from_file.exit_code == 0
    arguments = ["create-admin", "--email", "b@example.com"]
    prompted = CliRunner().invoke(cli, arguments, input=f"{PASSWORD}\n{PASSWORD}\n")
    assert prompted.exit_code == 0
    assert PASSWORD not in prompted.output


@pytest.mark.parametrize("key", [None, "weak"])
def test_without_a_good_key_it_does_not_start(auth: Service, key: str | None) -> None:
    auth.environment["AUTH_SIGNING_KEY"] = key or ""
    process = auth.start().process
    assert process
    assert process.wait(20) == 2
    (line,) = auth.log.read_text().strip().splitlines()
    assert "AUTH_SIGNING_KEY" in line
    assert not key or key not in line


def test_readiness_needs_mongo_and_not_redis(url: str) -> None:
    checks = httpx.get(f"{url}/health/ready").json()["checks"]
    assert {name: check[0]["required"] for name, check in checks.items()} == {
        "mongo": True,
        "redis": False,
    }
