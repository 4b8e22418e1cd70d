"""Spans as the bytes of an OTLP request, at a fraction of what OpenTelemetry's encoder takes.

What most spans consist of is written here: IDs, name, times, status, and attributes that are
texts, numbers or booleans. A span with anything else (events, links, lists, dropped attributes),
and what describes the process, is left to OpenTelemetry's own encoder. A test compares both.
The numbers of the fields are those of `opentelemetry/proto/trace/v1/trace.proto`.
"""

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Status

_LONGEST = 128  # characters of a text whose encoding is kept
_ONCE = "request_id"  # differs from request to request, so its encoding is not kept
_double = struct.Struct("<d").pack
_times = struct.Struct("<BQBQ").pack
_flags = struct.Struct("<HI").pack


class LeanExporter(OTLPSpanExporter):
    """OpenTelemetry's exporter over HTTP with this module's encoding.

    It reads no proxy variables (`HTTP_PROXY` and so on): a Collector is inside, and spans are
    nobody else's. A session of OpenTelemetry's credential provider is used as it is.
    """

    def __init__(self, endpoint: str | None = None, **options: Any) -> None:
        session = None
        if not any(name.endswith("_CREDENTIAL_PROVIDER") for name in os.environ):
            session = requests.Session()
            session.trust_env = False
        super().__init__(endpoint, session=session, **options)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch. Where this module cannot, the parent does, and logs what is wrong."""
        try:
            data = encode(spans)
        except Exception:  # a value that no encoder takes
            data = b""
        limit = getattr(self, "_max_request_size", None)  # None: of a version with other parts
        if self._shutdown or not data or limit is None or 0 < limit < len(data):
            return super().export(spans)
        with self._metrics.export_operation(len(spans)) as operation:
            sent = self._client.export(data)
            operation.error = sent.error
            return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """An `ExportTraceServiceRequest` of these spans, grouped by resource and scope."""
    resources: dict[Resource, dict[InstrumentationScope | None, list[bytes]]] = {}
    for span in spans:
        scopes = resources.setdefault(span.resource, {})
        scopes.setdefault(span.instrumentation_scope, []).append(_field(b"\x12", _span(span)))
    request = []
    for resource, scopes in resources.items():
        parts = [_head(resource, None)[0]]
        for scope, encoded in scopes.items():
            parts.append(_field(b"\x12", _head(resource, scope)[1] + b"".join(encoded)))
        request.append(_field(b"\x0a", b"".join(parts)))
    return b"".join(request)


@lru_cache(maxsize=64)
def _head(resource: Resource, scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
    """What a ResourceSpans and a ScopeSpans hold beside their spans."""
    probe = ReadableSpan(
        "probe", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope,
        start_time=0, end_time=0,
    )  # fmt: skip
    of_resource = encode_spans([probe]).resource_spans[0]
    of_scope = of_resource.scope_spans[0]
    of_scope.ClearField("spans")
    head: bytes = of_scope.SerializeToString()
    of_resource.ClearField("scope_spans")
    return of_resource.SerializeToString(), head


def _span(span: ReadableSpan) -> bytes:
    encoded = None
    with suppress(Exception):  # a value that does not fit: the official encoder knows what to do
        encoded = _ordinary(span)
    if encoded is None:
        made = encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
        encoded = made.SerializePartialToString()
    return encoded


def _ordinary(span: ReadableSpan) -> bytes | None:
    """The encoded span; None if there is more in it than this module writes."""
    context, parent = span.context, span.parent
    if context is None or context.trace_state or span.events or span.links:
        return None
    if span.dropped_attributes or span.dropped_events or span.dropped_links:
        return None
    parts = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
        _text(b"\x2a", span.name),
        b"\x30%c" % (span.kind.value + 1),
        _times(0x39, span.start_time, 0x41, span.end_time),
        _status(span.status),
    ]
    flags = 0x100  # it is known whether the parent is remote
    if parent is not None:
        parts += b"\x22\x08", parent.span_id.to_bytes(8, "big")
        flags |= 0x200 * parent.is_remote
    parts.append(_flags(0x0185, flags))
    for key, value in (span.attributes or {}).items():
        kind = type(value)
        if kind is str:
            short = len(value) <= _LONGEST and key != _ONCE  # type: ignore[arg-type]
            parts.append((_attribute if short else _attribute.__wrapped__)(key, value))
        elif kind is int or kind is bool:
            parts.append(_attribute(key, value))
        elif kind is float:
            parts.append(_pair(key, b"\x21" + _double(value)))
        else:
            return None
    return b"".join(parts)


@lru_cache(maxsize=4096, typed=True)
def _attribute(key: str, value: str | int | bool) -> bytes:
    if isinstance(value, str):
        return _pair(key, _text(b"\x0a", value))
    if isinstance(value, bool):
        return _pair(key, b"\x10%c" % value)
    if not -(2**63) <= value < 2**63:
        raise OverflowError
    return _pair(key, b"\x18" + _varint(value % 2**64))


def _pair(key: str, value: bytes) -> bytes:
    return _field(b"\x4a", _text(b"\x0a", key) + _field(b"\x12", value))


def _status(status: Status) -> bytes:
    code = status.status_code.value
    description = _text(b"\x12", status.description) if status.description else b""
    return _field(b"\x7a", description + (b"\x18%c" % code if code else b""))


def _text(tag: bytes, text: str) -> bytes:
    return _field(tag, text.encode())


def _field(tag: bytes, data: bytes) -> bytes:
    length = len(data)
    return b"%b%c%b" % (tag, length, data) if length < 128 else tag + _varint(length) + data


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 128:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)
