import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, field_validator

from shared.settings import MongoSettings, load

GOOD = {
    "USER_HASH_KEY": "k" * 16,
    "REDIS_URL": "redis://:hunter2@localhost/0",
    "MONGO_URL": "mongodb://localhost",
}


class Settings(MongoSettings):
    mongo_database: str = "test"
    api_key: SecretStr = SecretStr("")
    count: int = Field(1, ge=1)

    @field_validator("api_key")
    @classmethod
    def _quotes_what_it_got(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() == "leaky-value":
            raise ValueError("cannot use leaky-value")
        return value


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_secrets_come_from_files_and_never_show(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "url"
    secret.write_text("mongodb://user:hunter3@db\n")
    monkeypatch.delenv("MONGO_URL")
    monkeypatch.setenv("MONGO_URL_FILE", str(secret))
    settings = load(Settings)
    assert settings.mongo_url.get_secret_value() == "mongodb://user:hunter3@db"
    assert "hunter" not in repr(settings)


def test_lists_and_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    monkeypatch.setenv("METRICS_ALLOW", "127.0.0.1")
    monkeypatch.setenv("LOG_LEVEL", "")
    settings = load(Settings)
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.business_timezone.key == "Asia/Seoul"
    observability = settings.observability("svc", trust_remote_sampling=False)
    assert observability.service_name == "svc"
    assert observability.allow == (ip_network("127.0.0.1"),)
    assert observability.log_level == "info"
    assert not observability.trust_remote_sampling


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("MONGO_URL", None, "MONGO_URL is not set (or MONGO_URL_FILE, a file that holds it)"),
        ("MONGO_URL", "", "MONGO_URL is not set (or MONGO_URL_FILE, a file that holds it)"),
        ("USER_HASH_KEY", "short-secret", "USER_HASH_KEY: needs at least 16 characters"),
        ("MONGO_DRIVER", "pymango", "MONGO_DRIVER: Input should be 'motor' or 'pymongo'"),
        ("COUNT", "0", "COUNT: Input should be greater than or equal to 1"),
        ("COUNT", "many", "COUNT: Input should be a valid integer"),
        ("API_KEY", "leaky-value", "API_KEY: is not valid"),
        ("METRICS_ALLOW", "10.0.0.0/99", "METRICS_ALLOW: is not valid"),
        ("BUSINESS_TIMEZONE", "Mars/Olympus", "BUSINESS_TIMEZONE: is not valid"),
        ("MONGO_URL_FILE", "/nonexistent/hunter4", "MONGO_URL_FILE: cannot be read"),
    ],
)
def test_problem_is_one_line_that_names_the_variable_but_not_the_value(
    name: str,
    value: str | None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load(Settings)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"configuration: {line}")
    assert said.count("\n") == 1
    if name not in ("COUNT", "MONGO_DRIVER"):
        assert not value or value not in said


def test_all_problems_are_told_at_once_without_a_traceback() -> None:
    code = "from shared.settings import MongoSettings, load; load(MongoSettings)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    names = [line.split()[1] for line in done.stderr.splitlines()]
    assert sorted(names) == ["MONGO_DATABASE", "MONGO_URL", "REDIS_URL", "USER_HASH_KEY"]
