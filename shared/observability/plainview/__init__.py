"""One call makes a FastAPI service observable: metrics, health, traces, logs, request IDs."""

from . import otel_environment as _otel_environment  # noqa: F401 - before OpenTelemetry's own
from . import support as _support  # noqa: F401 - first: refuses other platforms
from . import workers as _workers  # noqa: F401 - before any metric is made
from .catalogue import (
    Alert,
    Bounded,
    Catalogue,
    CounterSpec,
    GaugeSpec,
    HistogramSpec,
    LabelValues,
    Metric,
    Slo,
)
from .context import (
    REQUEST_ID_HEADER,
    bind_user,
    new_request_id,
    request_context,
    request_id,
    trace_id,
    user_pseudonym,
)
from .execution import log_execution
from .guarded import guarded
from .health import Check, CheckFailed
from .instruments import (
    observe_httpx,
    observe_mongo,
    observe_redis,
    observe_sqlalchemy,
)
from .logs import configure_logging, flush_logs, get_logger, set_log_level
from .mask_patterns import MASK
from .masking import mask, mask_text
from .messaging import batch_span, consume_span, inject_context, produce_span
from .observe import Observability, observe
from .settings import ObservabilitySettings
from .signals import LIBRARY_METRICS

__all__ = [
    "LIBRARY_METRICS",
    "MASK",
    "REQUEST_ID_HEADER",
    "Alert",
    "Bounded",
    "Catalogue",
    "Check",
    "CheckFailed",
    "CounterSpec",
    "GaugeSpec",
    "HistogramSpec",
    "LabelValues",
    "Metric",
    "Observability",
    "ObservabilitySettings",
    "Slo",
    "batch_span",
    "bind_user",
    "configure_logging",
    "consume_span",
    "flush_logs",
    "get_logger",
    "guarded",
    "inject_context",
    "log_execution",
    "mask",
    "mask_text",
    "new_request_id",
    "observe",
    "observe_httpx",
    "observe_mongo",
    "observe_redis",
    "observe_sqlalchemy",
    "produce_span",
    "request_context",
    "request_id",
    "set_log_level",
    "trace_id",
    "user_pseudonym",
]
