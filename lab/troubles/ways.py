"""How the shop adopts each library: what is installed, and the lines of its documentation."""

from dataclasses import dataclass, field

from lab.troubles.serving import ROOT


@dataclass(frozen=True)
class Way:
    """A library: packages for pip, the code after `app = create_app()`, variables it needs."""

    name: str
    package: str  # whose version is told
    packages: tuple[str, ...]
    code: str
    variables: dict[str, str] = field(default_factory=dict)
    #: variables for a second attempt if it does not start, and what it lacks then
    otherwise: tuple[dict[str, str], str] | None = None


WAYS = (
    Way(
        "plainview",
        "plainview",
        (f"{ROOT / 'shared' / 'observability'}",),
        """
from plainview import ObservabilitySettings, observe
observe(app, ObservabilitySettings(service_name="shop", log_format="json"))
""",
    ),
    Way(
        "fastapi-observer",
        "fastapi-observer",
        ("fastapi-observer[all]",),
        """
from fastapiobserver import install_observability
install_observability(app)
""",
        {
            "APP_NAME": "shop",
            "SERVICE_NAME": "shop",
            "METRICS_ENABLED": "true",
            "OTEL_ENABLED": "true",
        },
        (
            {"APP_NAME": "shop", "SERVICE_NAME": "shop", "METRICS_ENABLED": "true"},
            "without its spans: with them it does not start on this version of Starlette",
        ),
    ),
    Way(
        "instrumentator",
        "prometheus-fastapi-instrumentator",
        ("prometheus-fastapi-instrumentator",),
        """
from prometheus_fastapi_instrumentator import Instrumentator
Instrumentator().instrument(app).expose(app)
""",
    ),
    Way(
        "stock OpenTelemetry",
        "opentelemetry-instrumentation-fastapi",
        (
            "opentelemetry-instrumentation-fastapi",
            "opentelemetry-instrumentation-logging",
            "opentelemetry-exporter-otlp-proto-http",
        ),
        """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
LoggingInstrumentor().instrument(set_logging_format=True)
FastAPIInstrumentor.instrument_app(app)
""",
        {"OTEL_SEMCONV_STABILITY_OPT_IN": "http", "OTEL_SERVICE_NAME": "shop"},
    ),
    Way(
        "logfire",
        "logfire",
        ("logfire[fastapi]",),
        """
import logfire
logfire.configure(send_to_logfire=False, service_name="shop")
logfire.instrument_fastapi(app)
""",
    ),
)
