"""Settings that services share, read from the environment variable NAME or the file NAME_FILE."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from plainview import ObservabilitySettings
from shared.setting_types import (
    HttpHost,
    HttpUrl,
    LogLevel,
    Misread,
    MongoUrl,
    Networks,
    RedisUrl,
)
from shared.web.bounds import Bounds


class _Files(PydanticBaseSettingsSource):
    """Reads the value of NAME from the file that NAME_FILE names, as containers mount secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        try:
            return (Path(path).read_text().strip() if path else None), field_name, False
        except (OSError, UnicodeError) as exc:
            raise SettingsError(f"{variable}: cannot be read") from exc

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields.items()
        found = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in found.items() if value is not None}


class SettingsError(Exception):
    """A setting is missing or wrong; the text names the variable, never its value."""


class ServiceSettings(BaseSettings):
    """What every service reads. Times are in seconds."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    environment: str = "development"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    log_level: LogLevel = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    user_hash_key: Annotated[SecretStr, Field(min_length=16)] | None = None
    trace_sample_ratio: float = Field(1.0, ge=0, le=1)
    metrics_allow: Networks | None = None
    trusted_proxies: Networks = ()
    client_ipv6_prefix: int = Field(64, ge=32, le=128)
    drain_seconds: float = Field(5.0, ge=0, le=10)
    message_seconds: float = Field(10.0, gt=0, le=60)
    keep_alive_seconds: float = Field(75.0, ge=1, le=3600)
    max_connections: int = Field(1024, ge=1)
    max_connections_per_client: int = Field(0, ge=0)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, the strongest first: arguments, files, variables."""
        return init_settings, _Files(settings_cls), env_settings

    def bounds(self) -> Bounds:
        return Bounds(
            message_s=self.message_seconds,
            keep_alive_s=self.keep_alive_seconds,
            connections=self.max_connections,
            connections_per_client=self.max_connections_per_client,
            ipv6_prefix=self.client_ipv6_prefix,
        )

    def observability(self, service_name: str, **more: Any) -> ObservabilitySettings:
        """Settings of plainview for this service; `more` overrides them."""
        values: dict[str, Any] = {
            "service_name": service_name,
            "environment": self.environment,
            "log_level": self.log_level,
            "log_format": self.log_format,
            "user_hash_key": self.user_hash_key,
            "trace_sample_ratio": self.trace_sample_ratio,
            "allow": self.metrics_allow,
        }
        return ObservabilitySettings(**{**values, **more})


class ApiSettings(ServiceSettings):
    """Settings of services that verify access tokens."""

    user_hash_key: Annotated[SecretStr, Field(min_length=16)]
    redis_url: RedisUrl
    business_timezone: ZoneInfo = Field(default_factory=lambda: ZoneInfo("Asia/Seoul"))
    token_issuer: str = "event-rewards"  # noqa: S105 - a name
    token_audience: str = "event-rewards"  # noqa: S105 - a name


class RemoteKeysSettings(ApiSettings):
    """Settings of services that fetch the keys of access tokens from auth."""

    auth_url: HttpHost = "http://127.0.0.1:8001"
    jwks_url: HttpUrl = ""

    @property
    def keys_url(self) -> str:
        """The URL of the public keys that verify access tokens."""
        return self.jwks_url or f"{self.auth_url.rstrip('/')}/.well-known/jwks.json"


class MongoSettings(ApiSettings):
    """Settings of services that store data; each gives `mongo_database` a default."""

    mongo_url: MongoUrl
    mongo_database: str
    mongo_driver: Literal["motor", "pymongo"] = "motor"


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S]) -> S:
    """The settings from the environment, or exit 2 after one line on stderr per problem."""
    try:
        found = settings()
        if isinstance(found, ServiceSettings):
            found.observability("any")  # checks the variables that plainview reads
        return found
    except ValidationError as exc:
        lines = [_line(error) for error in exc.errors(include_url=False)]
    except SettingsError as exc:
        lines = [str(exc)]
    for line in lines:
        print(f"configuration: {line}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


def _line(error: Any) -> str:
    name = str(error["loc"][0]).upper() if error["loc"] else "settings"
    if error["type"] == "missing":
        return f"{name} is not set (or {name}_FILE, a file that holds it)"
    value, text = error["input"], str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error.get("ctx", {}).get("error"), Misread):
        return f"{name}: {text}"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if error["type"] == "too_short":
        text = f"needs at least {error['ctx']['min_length']} characters"
    if any(part in text for part in str(value).split(",") if part):
        text = "is not valid"  # pydantic's message may quote the value, a secret
    return f"{name}: {text}"
