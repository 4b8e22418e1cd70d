"""Masks, sends and counts spans, in the export thread."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

from .guarded import guarded
from .logs import get_logger
from .masking import mask, mask_text, masked_key
from .request_span import FinishedSpan
from .signals import SPANS_EXPORTED

_REPORT_EVERY_S = 60.0
# Free text of clients, in which no pattern could recognise every secret.
_DROPPED = {"url.query", "user_agent.original", "http.request.method_original"}
# Values of closed sets, numbers and addresses: written by instruments, not by clients.
_CLOSED = frozenset(
    (
        *("http.request.method", "http.route", "http.response.status_code", "url.scheme"),
        *("network.protocol.version", "client.address", "client.port", "server.port"),
        *("request_id", "db.system.name", "db.operation.name", "network.peer.port"),
    )
)


# Attributes of database instruments have few values, so what became of them is kept.
_INSTRUMENTS = ("db.", "net.", "network.", "server.")
_LONGEST = 256  # characters of a text that is kept


class ReportingExporter(SpanExporter):
    """Masks spans, passes them on, counts outcomes and logs failures at most once a minute."""

    def __init__(
        self,
        exporter: SpanExporter,
        masking: Callable[[], bool],
        taken: Callable[[int], None],
        endpoint: str = "",
    ) -> None:
        self._exporter = exporter
        self._endpoint = _where(endpoint)
        self._why = _LastFailure()
        self._masking = masking
        self._taken = taken
        self._reported = -_REPORT_EVERY_S
        self._unreported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; never raises."""
        self._taken(len(spans))
        result = SpanExportResult.FAILURE
        # a span that cannot be masked is not sent
        with guarded("traces"):
            batch = [masked(span) for span in spans] if self._masking() else spans
            result = self._exporter.export(batch)
        SPANS_EXPORTED.inc(len(spans), outcome=result.name.lower())
        if result is not SpanExportResult.SUCCESS:
            self._report(len(spans))
        return result

    def _report(self, count: int) -> None:
        self._unreported += count
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY_S:
            get_logger("job").warning(
                "telemetry.spans_not_exported",
                spans=self._unreported,
                endpoint=self._endpoint,
                reason=self._why.text,
            )
            self._reported, self._unreported = now, 0

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _LastFailure(logging.Handler):
    """Keeps the last failure that the SDK's exporter logged: a status or an exception."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = "unknown"
        logger = logging.getLogger("opentelemetry.exporter")
        for handler in [one for one in logger.handlers if isinstance(one, _LastFailure)]:
            logger.removeHandler(handler)
        logger.addHandler(self)
        logger.propagate = False  # logged once a minute instead of for every batch

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, unless it only repeats that something failed."""
        with guarded("traces"):
            text = record.getMessage()
            if "max retries" not in text:
                self.text = mask_text(text)[:500]


def masked(span: ReadableSpan) -> ReadableSpan:
    """A copy without secrets in name, attributes, events, links and status.

    Paths are recorded as the route's template (`__unknown__` if none matched) and URLs of
    outgoing requests as their origin, since nothing tells an ID in a path from a secret.
    """
    if isinstance(span, FinishedSpan) and span.clean:
        return span
    attributes = dict(span.attributes or {})
    description = span.status.description
    if "db.system.name" in attributes:
        description = None  # databases put keys and values into messages; error.type stays
    return ReadableSpan(
        name=mask_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(attributes),
        events=[
            Event(event.name, _attributes(event.attributes or {}), event.timestamp)
            for event in span.events
        ],
        links=[Link(link.context, _attributes(link.attributes or {})) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, description and mask_text(description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in attributes.items():
        kind = type(value)
        if name in _CLOSED or kind is bool or kind is float:
            result[name] = value  # the library's own, of closed sets, or no text
        elif name in _DROPPED:
            continue
        elif name == "url.path":
            result[name] = attributes.get("http.route", "__unknown__")
        elif name == "url.full":
            result[name] = _origin(str(value))
        elif kind is str and name.startswith(_INSTRUMENTS) and len(value) <= _LONGEST:
            result[name] = _instrument_text(name, value)
        else:
            result[name] = _value(name, value)
    return result


@lru_cache(maxsize=1024)
def _instrument_text(name: str, value: str) -> Any:
    return _value(name, value)


def _value(name: str, value: Any) -> Any:
    # the last part is the key, as in `http.request.header.authorization`
    key = name.rpartition(".")[2]
    if type(value) is str and not masked_key(key)[1]:
        return mask_text(value)
    return mask({key: list(value) if type(value) is tuple else value})[key]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/***"


def _where(url: str) -> str:
    """The endpoint without credentials and query, to be logged."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if url else ""
