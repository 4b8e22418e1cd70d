"""One call makes a FastAPI service observable: metrics, health, traces, masked logs, request IDs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import Alert, Bounded, Catalogue, LabelValues, Metric, Slo
    from .catalogue import CounterSpec, GaugeSpec, HistogramSpec
    from .context import (
        REQUEST_ID_HEADER, bind_user, new_request_id, request_context, request_id, trace_id,
        user_pseudonym,
    )
    from .execution import log_execution
    from .guarded import guarded
    from .health import Check
    from .instruments import instrument_mongo, instrument_redis, observe_client, observe_redis
    from .logs import configure_logging, flush_logs, get_logger, set_log_level
    from .masking import MASK, mask, mask_text
    from .messaging import batch_span, consume_span, inject_context, produce_span
    from .observe import Observability, observe
    from .settings import ObservabilitySettings
    from .signals import PLATFORM

_HOMES = {
    "catalogue": "Alert Bounded Catalogue CounterSpec GaugeSpec HistogramSpec LabelValues Metric Slo",
    "context": "REQUEST_ID_HEADER bind_user new_request_id request_context request_id trace_id user_pseudonym",
    "execution": "log_execution",
    "guarded": "guarded",
    "health": "Check",
    "instruments": "instrument_mongo instrument_redis observe_client observe_redis",
    "logs": "configure_logging flush_logs get_logger set_log_level",
    "masking": "MASK mask mask_text",
    "messaging": "batch_span consume_span inject_context produce_span",
    "observe": "Observability observe",
    "settings": "ObservabilitySettings",
    "signals": "PLATFORM",
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:  # for as long as modules are still landing
    if name not in _WHERE:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
