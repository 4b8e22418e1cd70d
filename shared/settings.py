"""Settings that every service has, read from the environment; secrets also from files.

`NAME_FILE` names a file that holds the secret `NAME`. What is missing or weak stops the
start with a line that names the variable, never its value.
"""

import os
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from plainview import ObservabilitySettings

S = TypeVar("S", bound=BaseSettings)
MIN_SECRET = 16


class FileSource(PydanticBaseSettingsSource):
    """The values of `<NAME>_FILE`: the file's text without the white space around it."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        name = f"{field_name.upper()}_FILE"
        path = os.environ.get(name)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text().strip(), field_name, False
        except OSError as error:
            raise SettingsError(f"{name}: cannot read {path}: {error.strerror}") from error

    def __call__(self) -> dict[str, Any]:
        values = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                values[key] = value
        return values


class SettingsError(Exception):
    """A setting that is missing or no good; the message names it."""


class ServiceSettings(BaseSettings):
    """What all services share. Times in seconds."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: str = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    business_timezone: str = "Asia/Seoul"
    user_hash_key: SecretStr = Field(min_length=MIN_SECRET)
    token_issuer: str = "event-rewards"  # noqa: S105 - a name
    token_audience: str = "event-rewards"  # noqa: S105 - a name
    mongo_driver: Literal["motor", "pymongo"] = "motor"
    trace_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    drain_seconds: float = Field(default=5, ge=0, le=60)
    trusted_proxies: str = ""

    @field_validator("business_timezone")
    @classmethod
    def known_zone(cls, value: str) -> str:
        """Refuse a zone this machine does not know."""
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("no such time zone") from error
        return value

    @property
    def zone(self) -> ZoneInfo:
        """Time zone of the business day."""
        return ZoneInfo(self.business_timezone)

    def observability(self, service_name: str, **changes: Any) -> ObservabilitySettings:
        """Settings of plainview for this service; `changes` go over them."""
        return ObservabilitySettings(
            **{
                "service_name": service_name,
                "environment": self.environment,
                "user_hash_key": self.user_hash_key,
                "trace_sample_ratio": self.trace_sample_ratio,
                **changes,
            }
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then `*_FILE`."""
        return init_settings, env_settings, FileSource(settings_cls)


def load(settings: type[S]) -> S:
    """Read the settings; what is wrong goes to standard error, a line each, and exit code 2."""
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"{name}: {problem['msg']} (see .env.example)", file=sys.stderr)  # noqa: T201
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
    raise SystemExit(2)
