import sys
from ipaddress import ip_network

import pytest
from pydantic import Field, SecretStr, field_validator

from shared.setting_types import HttpHost, Origins, RateLimit
from shared.settings import MongoSettings, load
from tests.support.processes import ended

A = "https://a.example"
GOOD = {
    "USER_HASH_KEY": "k" * 16,
    "REDIS_URL": "redis://:hunter2@localhost/0",
    "MONGO_URL": "mongodb://localhost",
}


class Settings(MongoSettings):
    mongo_database: str = "test"
    api_key: SecretStr = SecretStr("")
    count: int = Field(1, ge=1)
    auth_url: HttpHost = "http://127.0.0.1:8001"
    cors_origins: Origins = ()
    rate_limit: RateLimit = "1/minute"

    @field_validator("api_key")
    @classmethod
    def _quotes_what_it_got(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() == "leaky-value":
            raise ValueError("cannot use leaky-value")
        return value


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_secrets_come_from_files_and_never_show(monkeypatch, tmp_path):
    secret = tmp_path / "url"
    secret.write_text("mongodb://user:hunter3@db\n")
    monkeypatch.delenv("MONGO_URL")
    monkeypatch.setenv("MONGO_URL_FILE", str(secret))
    settings = load(Settings)
    assert settings.mongo_url.get_secret_value() == "mongodb://user:hunter3@db"
    assert "hunter" not in repr(settings)


def test_lists_and_zone(monkeypatch):
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
        ("METRICS_ALLOW", "10.0.0.0/99", "METRICS_ALLOW: is a list of networks such as"),
        ("METRICS_ALLOW", "prometheus", "METRICS_ALLOW: is a list of networks such as"),
        ("TRUSTED_PROXIES", "*", "TRUSTED_PROXIES: is a list of networks such as"),
        ("TRUSTED_PROXIES", '["::1"', "TRUSTED_PROXIES: is a list of networks such as"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: is one of debug, info, warning, error, critical"),
        ("REDIS_URL", "http://:hunter2@db", "REDIS_URL: is not an address such as redis://host"),
        ("REDIS_URL", "redis://:hunter2@db:port", "REDIS_URL: is not an address such as redis://"),
        ("REDIS_URL", "rediss://", "REDIS_URL: is not an address such as redis://host:port"),
        ("MONGO_URL", "mysql://a:hunter2@db", "MONGO_URL: is not an address such as mongodb://"),
        ("MONGO_URL", "mongodb://a:b@c@db", "MONGO_URL: is not an address such as mongodb://"),
        ("MONGO_URL", "mongodb://db:99999", "MONGO_URL: is not an address such as mongodb://"),
        ("AUTH_URL", "ftp://auth", "AUTH_URL: is not an address such as http://host:port"),
        ("AUTH_URL", "http://auth/api", "AUTH_URL: is an address without a path"),
        ("AUTH_URL", "http://au th", "AUTH_URL: is not an address such as http://host:port"),
        ("CORS_ORIGINS", "https://a.example/app", "CORS_ORIGINS: is an address without a path"),
        ("CORS_ORIGINS", "a.example", "CORS_ORIGINS: is a list of origins such as https://"),
        ("CORS_ORIGINS", '["https://a.example"', "CORS_ORIGINS: is a list, its items"),
        ("RATE_LIMIT", "often", "RATE_LIMIT: is a limit such as 300/minute"),
        ("TRACE_SAMPLE_RATIO", "10%", "TRACE_SAMPLE_RATIO: Input should be a valid number"),
        ("BUSINESS_TIMEZONE", "Mars/Olympus", "BUSINESS_TIMEZONE: is not valid"),
        ("MONGO_URL_FILE", "/nonexistent/hunter4", "MONGO_URL_FILE: cannot be read"),
    ],
)
def test_problem_is_one_line_that_names_the_variable_but_not_the_value(
    name, value, line, monkeypatch, capsys
):
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


@pytest.mark.parametrize(
    ("name", "value", "understood"),
    [
        ("AUTH_URL", "auth:8001", "http://auth:8001"),
        ("AUTH_URL", " https://auth/ ", "https://auth"),
        ("AUTH_URL", "[::1]:8001", "http://[::1]:8001"),
        ("REDIS_URL", "localhost:6379", "redis://localhost:6379"),
        ("REDIS_URL", "rediss://:p@redis:6380/2", "rediss://:p@redis:6380/2"),
        ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("MONGO_URL", "db:27017", "mongodb://db:27017"),
        ("MONGO_URL", "mongodb://a:1,b:2/?replicaSet=r", "mongodb://a:1,b:2/?replicaSet=r"),
        ("MONGO_URL", "mongodb+srv://nowhere.example/x", "mongodb+srv://nowhere.example/x"),
        ("CORS_ORIGINS", "https://a.example/, http://b:3000", (A, "http://b:3000")),
        ("CORS_ORIGINS", '["https://a.example"]', (A,)),
        ("CORS_ORIGINS", "*", ("*",)),
        ("CORS_ORIGINS", "", ()),
        ("TRUSTED_PROXIES", '["10.0.0.0/8"]', (ip_network("10.0.0.0/8"),)),
        ("TRUSTED_PROXIES", "10.1.2.3/8", (ip_network("10.0.0.0/8"),)),
        ("LOG_LEVEL", "WARN", "warning"),
        ("LOG_LEVEL", "Fatal", "critical"),
        ("LOG_LEVEL", "20", "info"),
        ("COUNT", " 7 ", 7),
        ("COUNT", "", 1),
    ],
)
def test_forms_that_people_write_are_understood(name, value, understood, monkeypatch):
    monkeypatch.setenv(name, value)
    found = getattr(load(Settings), name.lower())
    assert (found.get_secret_value() if isinstance(found, SecretStr) else found) == understood


def test_all_problems_are_told_at_once_without_a_traceback():
    code = "from shared.settings import MongoSettings, load; load(MongoSettings)"
    done = ended([sys.executable, "-c", code], env={})
    assert done.returncode == 2
    names = [line.split()[1] for line in done.stderr.splitlines()]
    assert sorted(names) == ["MONGO_DATABASE", "MONGO_URL", "REDIS_URL", "USER_HASH_KEY"]
