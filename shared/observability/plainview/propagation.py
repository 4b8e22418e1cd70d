"""W3C trace context, of which only `traceparent` is trusted.

`baggage` and `tracestate` are neither read nor forwarded, unless `OTEL_PROPAGATORS` says so.
"""

import os
import re

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    default_getter,
    default_setter,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .otel_environment import PROPAGATORS_REFUSED, propagate

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class TraceparentPropagator(TraceContextTextMapPropagator):
    """W3C trace context without `tracestate`: one `traceparent` of 55 characters or none."""

    @property
    def fields(self) -> set[str]:
        return {"traceparent"}

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """The context in `carrier`; an invalid `traceparent` is ignored."""
        context = Context() if context is None else context
        values = getter.get(carrier, "traceparent") or []
        if len(values) != 1 or not _TRACEPARENT.fullmatch(values[0]):
            return context
        return super().extract({"traceparent": values[0]}, context)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        headers: dict[str, str] = {}
        super().inject(headers, context)
        if "traceparent" in headers:
            setter.set(carrier, "traceparent", headers["traceparent"])


def install_propagator() -> list[str]:
    """Propagate only `traceparent`, or what OTEL_PROPAGATORS names; sentences about failures."""
    if PROPAGATORS_REFUSED or not os.environ.get("OTEL_PROPAGATORS"):
        propagate.set_global_textmap(TraceparentPropagator())
    return PROPAGATORS_REFUSED
