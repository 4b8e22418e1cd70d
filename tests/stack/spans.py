"""Traces made by hand and sent through OTLP."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import StatusCode


def send_traces(endpoint: str, service: str, count: int, failed: int = 0) -> list[str]:
    """One-span traces through OTLP; the IDs, the failed ones first."""
    provider = TracerProvider(resource=Resource({"service.name": service}))
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    ids = []
    for number in range(count):
        with tracer.start_as_current_span("work") as span:
            if number < failed:
                span.set_status(StatusCode.ERROR)
            ids.append(f"{span.get_span_context().trace_id:032x}")
    provider.shutdown()
    return ids
