"""Checks variables that OpenTelemetry's packages read at import, where bad ones make them raise.

Has to be imported before those packages. `observe()` reports the variables that are not used.
"""

import importlib
import os
from typing import Any

# Read once by the first instrumentation that is set up.
os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")

_NUMBERS = ("OTEL_BSP_", "OTEL_SPAN_", "OTEL_EVENT_", "OTEL_LINK_", "OTEL_ATTRIBUTE_")


def _drop_odd_limits() -> list[str]:
    """Remove variables that would make the SDK raise or log a traceback; a sentence for each."""
    told = []
    for name, text in tuple(os.environ.items()):
        number = name.startswith(_NUMBERS) or name.endswith(("_COUNT_LIMIT", "_LENGTH_LIMIT"))
        lowest = 1 if name.startswith("OTEL_BSP_") else 0
        fits = text.isdecimal() and int(text) >= lowest
        if name.startswith("OTEL_") and number and text and not fits:
            told.append(f"{name}={text} is ignored: it has to be a number from {lowest} on")
            del os.environ[name]
    return told


def _import_propagate() -> tuple[Any, list[str]]:
    """OpenTelemetry's module; its import raises if OTEL_PROPAGATORS has an unknown name."""
    name = "opentelemetry.propagate"
    if not os.environ.get("OTEL_PROPAGATORS", "x").strip():
        del os.environ["OTEL_PROPAGATORS"]  # older versions look for a propagator named ""
    try:
        return importlib.import_module(name), []
    except Exception as error:  # whatever a propagator's own import raises
        wanted = os.environ.pop("OTEL_PROPAGATORS")
        try:
            return importlib.import_module(name), [f"OTEL_PROPAGATORS={wanted}: {error}"]
        finally:
            os.environ["OTEL_PROPAGATORS"] = wanted


ODD_LIMITS = _drop_odd_limits()
propagate, PROPAGATORS_REFUSED = _import_propagate()
