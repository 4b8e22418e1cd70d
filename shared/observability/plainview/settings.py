"""Settings of the library: every part has a switch; only the service's name has no default."""

import difflib
import os
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

from pydantic import (
    AliasChoices,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .client_address import Networks, parse_networks

LogLevel = Literal["debug", "info", "warning", "error", "critical"]

# Few, because every one is a series per route and status; thresholds of objectives are among them.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def _env(name: str, *others: str) -> AliasChoices:
    return AliasChoices(name, f"PLAINVIEW_{name.upper()}", *others)


class ObservabilitySettings(BaseSettings):
    """What `observe()` does; read from `PLAINVIEW_<NAME>`, then from the standard `OTEL_*` names.

    Empty variables count as not set. A variable with a value that does not fit is not used, and
    `observe()` says so; an argument that does not fit is a ValidationError. Times are in seconds.
    `allow` are the networks whose peers may read `/metrics` and the
    health pages (`PLAINVIEW_ALLOW` or `METRICS_ALLOW`, separated by commas); None is anyone.
    """

    model_config = SettingsConfigDict(
        env_prefix="PLAINVIEW_",
        env_ignore_empty=True,
        extra="forbid",
        populate_by_name=True,
        frozen=True,
        use_attribute_docstrings=True,
    )

    service_name: str = Field(
        default="service", min_length=1, validation_alias=_env("service_name", "OTEL_SERVICE_NAME")
    )
    """Name in lines, metrics and spans; `OTEL_SERVICE_NAME` wins over an argument."""
    service_version: str = "0.1.0"
    """Version in `service_info`, lines and spans."""
    environment: str = Field(
        default="development", validation_alias=_env("environment", "ENVIRONMENT")
    )
    """Where the service runs, in `service_info`, lines and spans."""

    logs: bool = True
    """All lines of `get_logger`. Off, stdlib logging is left alone, which saves a thread."""
    metrics: bool = True
    """`/metrics`, and with it everything that a dashboard or an alert asks."""
    http_metrics: bool = True
    """Rate, errors and duration by route."""
    http_sizes: bool = False
    """Bytes of the bodies of requests and replies as histograms: twice as many series."""
    http_labels_limit: int = Field(default=100, ge=1)
    """Combinations of values of the labels in `observe(http_labels=...)`; others are `_other`."""
    health: bool = True
    """`/health/*`, `service_ready`, `dependency_up`. Off, it saves a task per dependency."""
    traces: bool = True
    """Spans, `trace_id` in lines, exemplars, the way of a request through services."""
    masking: bool = True
    """Secrets are hidden in lines and spans. Off, they are there as the service wrote them."""
    access_log: bool = True
    """The line `http.request` of each request."""
    access_log_client: bool = False
    """`client_address` in that line and in `websocket.closed`: personal data in many places."""
    access_log_path: bool = False
    """`url_path` in these lines, masked, without the query; a mask does not know every secret."""
    exemplars: bool = True
    """The way from a slow bucket of a histogram to its trace."""
    event_loop_lag: bool = True
    """Shows that something blocks the event loop; wakes up 4 times a second."""

    log_level: LogLevel = Field(default="info", validation_alias=_env("log_level", "LOG_LEVEL"))
    """Lines below this level are not written; `set_log_level()` changes it at any time."""
    debug_signal: bool = False
    """SIGUSR1 switches debug lines on and off; not under gunicorn, which uses that signal."""
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", validation_alias=_env("log_format", "LOG_FORMAT")
    )
    """`auto` is `console` on a terminal, else `json`."""
    log_queue_size: int = Field(default=10_000, ge=1)
    """Lines that may wait for a slow sink; further ones are dropped and counted."""
    security_wait_s: float = Field(default=0.5, ge=0)
    """How long a line of the security log may wait for room in the queue."""
    user_hash_key: SecretStr | None = Field(
        default=None, validation_alias=_env("user_hash_key", "USER_HASH_KEY")
    )
    """Key of the users' pseudonyms; without it they differ from process to process."""

    trace_sample_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        validation_alias=_env("trace_sample_ratio", "OTEL_TRACES_SAMPLER_ARG"),
    )
    """Share of the traces that are recorded; the decision of a caller is followed."""
    trust_remote_sampling: bool = True
    """Off at a public door: the trace ID is kept, the decision is one's own."""
    spans_by: Literal["plainview", "stock"] = "plainview"
    """`stock` has FastAPIInstrumentor make the server spans; needs `plainview[stock]`."""
    metrics_by: Literal["plainview", "stock"] = "plainview"
    """`stock` has starlette-exporter make the HTTP metrics; needs `plainview[stock]`."""

    allow: Annotated[Networks | None, NoDecode] = Field(
        default=None, validation_alias=_env("allow", "METRICS_ALLOW")
    )
    """Networks that may read `/metrics` and `/health`, others get a 404; unset is anyone."""
    trusted_proxies: Annotated[Networks, NoDecode] = Field(
        default=(), validation_alias=_env("trusted_proxies", "TRUSTED_PROXIES")
    )
    """Networks of proxies whose `X-Forwarded-For` is believed."""
    ops_port: int | None = Field(
        default=None, ge=1, le=65535, validation_alias=_env("ops_port", "OPS_PORT")
    )
    """Metrics and health on this port alone; the application's own port answers 404 there."""
    ops_host: str = Field(default="0.0.0.0", validation_alias=_env("ops_host", "OPS_HOST"))
    """Address that `ops_port` listens on."""
    latency_buckets: tuple[float, ...] = LATENCY_BUCKETS
    """Bounds of the HTTP histogram; put the thresholds of your objectives in."""

    check_interval_s: float = Field(default=2.0, gt=0)
    """Pause between two checks of a dependency."""
    check_timeout_s: float = Field(default=1.0, gt=0)
    """Longest duration of a check."""
    shutdown_timeout_s: float = Field(default=5.0, ge=0)
    """Longest flush of lines and of spans at the end."""

    _told: list[str] = PrivateAttr(default_factory=list)

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = value.strip().lower()
        return _LEVEL_ALIASES.get(text, text)

    @field_validator("allow", "trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if value is None:
            return None
        return parse_networks(value if isinstance(value, str) else map(str, value))

    @model_validator(mode="before")
    @classmethod
    def _sdk_disabled(cls, values: Any) -> Any:
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            values = {**values, "traces": False}
        return values

    @model_validator(mode="wrap")
    @classmethod
    def _without_odd_variables(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        told = _misspelled(cls)
        try:
            made = handler(values)
        except ValidationError as error:
            if not isinstance(values, dict):
                raise
            odd = {str(one["loc"][0]): one["msg"] for one in error.errors() if one["loc"]}
            names = {key: _variable_of(cls, key, values.get(key)) for key in odd}
            if not all(names.values()):
                raise
            told += [f"{names[key]} is not used: {message}" for key, message in odd.items()]
            values = {key: value for key, value in values.items() if key not in odd}
            if any(name in ("PLAINVIEW_ALLOW", "METRICS_ALLOW") for name in names.values()):
                values["allow"] = ()  # an invalid list admits nobody rather than anybody
            made = handler(values)
        made._told.extend(told)
        return made

    @property
    def told(self) -> list[str]:
        """Sentences about wrong variables of the environment."""
        return [*self._told]

    def identified(self) -> Self:
        """A copy with the names of OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.

        These win over the application's, so that logs, metrics and spans have the same names.
        """
        given = _resource_attributes()
        names = {
            "service_name": os.environ.get("OTEL_SERVICE_NAME") or given.get("service.name"),
            "service_version": given.get("service.version"),
            "environment": given.get("deployment.environment.name")
            or given.get("deployment.environment"),
        }
        found = {name: text for name, text in names.items() if text}
        return self.model_copy(update=found) if found else self


_LEVEL_ALIASES = {"warn": "warning", "err": "error", "fatal": "critical", "trace": "debug"}


def _resource_attributes() -> dict[str, str]:
    pairs = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    split = (pair.split("=", 1) for pair in pairs if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, value in split}


def _variable_of(cls: type[BaseSettings], key: str, given: object) -> str | None:
    """The variable that a value came from; None for an argument."""
    for name, field in cls.model_fields.items():
        choices = getattr(field.validation_alias, "choices", ())
        names = {name, f"PLAINVIEW_{name.upper()}", *map(str, choices)}
        if key in names:
            known = {each.upper() for each in names}  # as pydantic: small letters will do, too
            set_ = (each for each in sorted(os.environ) if each.upper() in known)
            return next((each for each in set_ if os.environ[each] == given), None)
    return None


def _misspelled(cls: type[BaseSettings]) -> list[str]:
    known = {f"PLAINVIEW_{name.upper()}" for name in cls.model_fields} | {"PLAINVIEW_STRICT"}
    told = []
    for name in sorted(set(os.environ) - known):
        if name.startswith("PLAINVIEW_"):
            like = difflib.get_close_matches(name, known, 1)
            told.append(f"{name} is no setting" + (f", {like[0]} is" if like else ""))
    return told
