"""docs/plainview/settings.md: each setting of the library, from its declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from plainview import ObservabilitySettings
from plainview.kit.documents import row

PAGE = Path("docs/plainview/settings.md")
SHOWN = 3  # values of a list; of more only their number and the ends

HEAD = """\
# Settings of plainview

Written by `make generate` from `plainview/settings.py`.

Each is an argument of `ObservabilitySettings` and a variable of the environment. Times are in
seconds, networks are separated by commas, switches are `true` or `false`. Of several variables the
first one that is set counts.

An argument wins over a variable, but for the three names that operators give by
`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`: those win over all, so that lines, metrics and
spans have one name. An empty variable counts as not set. A variable that does not fit is not used,
and the line `telemetry.degraded` says so at the start; so it does of a misspelled `PLAINVIEW_...`.
An argument that does not fit raises a `ValidationError`. `METRICS_ALLOW` that does not fit lets
nobody in.

"""
TAIL = """
Besides these:

| Variable | What |
|---|---|
| `PLAINVIEW_STRICT=1` | errors inside the telemetry are raised: for tests |
| `OTEL_EXPORTER_OTLP_ENDPOINT`, `..._TRACES_ENDPOINT` | where spans are sent to; unset, none are |
| `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`; `grpc` needs a package more, which a line names |
| `OTEL_PROPAGATORS` | unset, `traceparent` alone is read and handed on |
| `OTEL_TRACES_SAMPLER` | `always_on`, `always_off`, `traceidratio`, and each with `parentbased_` |
| `OTEL_BSP_*`, `OTEL_SPAN_*_LIMIT`, `OTEL_SDK_DISABLED` | as OpenTelemetry says |
"""


def _kind(annotation: Any) -> str:
    """What may be given, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if annotation is bool:
        return "switch"
    if annotation in (int, float):
        return "number"
    if annotation is str or "Secret" in str(annotation):
        return "text"
    if get_origin(annotation) is tuple:
        return "numbers, as JSON" if float in get_args(annotation) else "networks"
    (inner,) = (each for each in get_args(annotation) if each is not type(None))
    return _kind(inner)


def _default(value: Any) -> str:
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"{len(value)} from {value[0]} to {value[-1]}" if len(value) > SHOWN else str(value)
    return f"`{value}`"


def _variables(name: str, field: FieldInfo) -> str:
    choices = getattr(field.validation_alias, "choices", ())
    names = dict.fromkeys([f"PLAINVIEW_{name.upper()}", *(str(c) for c in choices if c != name)])
    return ", ".join(f"`{each}`" for each in names)


def settings_page() -> str:
    """The page; ValueError for a setting without a docstring below it."""
    rows = []
    for name, field in ObservabilitySettings.model_fields.items():
        if not field.description:
            raise ValueError(f"plainview/settings.py: {name} has no docstring below it")
        cells = (_kind(field.annotation), _default(field.default), field.description)
        rows.append(row(f"`{name}`", *cells, _variables(name, field)))
    head = [row("Setting", "Values", "Default", "What", "Variables"), "|" + "---|" * 5]
    return HEAD + "\n".join([*head, *rows]) + "\n" + TAIL


def generated() -> dict[Path, str]:
    """File and text."""
    return {PAGE: settings_page()}
