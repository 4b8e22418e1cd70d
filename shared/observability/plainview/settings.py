"""Settings of the library: every part has a switch, everything has a default but the name."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

# Few, because every one is a series per route and status; thresholds of objectives are among them.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def _env(name: str, *others: str) -> AliasChoices:
    return AliasChoices(name, f"PLAINVIEW_{name.upper()}", *others)


class ObservabilitySettings(BaseSettings):
    """What `observe()` does; read from `PLAINVIEW_<NAME>`, then from the standard `OTEL_*` names.

    Times are in seconds. `allow` are the networks whose peers may read `/metrics` and the
    health pages (`PLAINVIEW_ALLOW` or `METRICS_ALLOW`, separated by commas); None is anyone.
    """

    model_config = SettingsConfigDict(
        env_prefix="PLAINVIEW_", extra="ignore", populate_by_name=True, frozen=True
    )

    service_name: str = Field(
        "service", min_length=1, validation_alias=_env("service_name", "OTEL_SERVICE_NAME")
    )
    service_version: str = "0.1.0"
    environment: str = Field("development", validation_alias=_env("environment", "ENVIRONMENT"))

    logs: bool = True
    metrics: bool = True
    http_metrics: bool = True
    health: bool = True
    traces: bool = True
    masking: bool = True
    access_log: bool = True
    exemplars: bool = True
    event_loop_lag: bool = True

    log_level: LogLevel = Field("info", validation_alias=_env("log_level", "LOG_LEVEL"))
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", validation_alias=_env("log_format", "LOG_FORMAT")
    )
    log_queue_size: int = Field(10_000, ge=1)
    security_wait_s: float = Field(0.5, ge=0)
    user_hash_key: SecretStr | None = Field(
        None, validation_alias=_env("user_hash_key", "USER_HASH_KEY")
    )

    trace_sample_ratio: float = Field(
        1.0, ge=0, le=1, validation_alias=_env("trace_sample_ratio", "OTEL_TRACES_SAMPLER_ARG")
    )
    trust_remote_sampling: bool = True

    allow: Annotated[tuple[Network, ...] | None, NoDecode] = Field(
        None, validation_alias=_env("allow", "METRICS_ALLOW")
    )
    latency_buckets: tuple[float, ...] = LATENCY_BUCKETS

    check_interval_s: float = Field(2.0, gt=0)
    check_timeout_s: float = Field(1.0, gt=0)
    shutdown_timeout_s: float = Field(5.0, ge=0)

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("allow", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if value is None:
            return None
        items = value.split(",") if isinstance(value, str) else value
        texts = [str(item).strip() for item in items]
        return tuple(ip_network(text, strict=False) for text in texts if text)

    @model_validator(mode="before")
    @classmethod
    def _sdk_disabled(cls, values: Any) -> Any:
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            values = {**values, "traces": False}
        return values
