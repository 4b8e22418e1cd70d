"""What the console remembers: traces, log lines and the requests they belong to, all bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from sys import intern
from typing import Any, NamedTuple

import orjson

from plainview.decode import SpanRecord
from shared.thresholds import SERVICE

MAX_LINE = 8_192  # characters kept of one log line
MAX_ATTRIBUTE = 1_024  # characters kept of one attribute
MAX_ATTRIBUTES = 64  # attributes kept of one span
EDGE = "gateway"  # the outermost service: what it saw is a request
FEED = {"reward.claimed", "reward.refused", "reward.decided"}
CHANGES = {"event.created", "event.changed", "reward.created", "reward.restocked"}


@dataclass(slots=True)
class Line:
    """One log line: the fields that it is found by, and its text as it was written."""

    at: float  # Unix seconds
    service: str
    level: str
    log_type: str
    event: str
    request_id: str
    trace_id: str
    text: str

    @classmethod
    def parse(cls, text: str, service: str, now: float) -> Line:
        """Read a JSON line of a service; anything else is a plain line, class `general`."""
        text = text[:MAX_LINE]
        try:
            doc = orjson.loads(text)
        except orjson.JSONDecodeError:
            doc = None
        if not isinstance(doc, dict):
            return cls(now, service, "info", "general", "", "", "", text)

        def word(key: str, default: str = "") -> str:
            return str(doc.get(key) or default)[:256]

        return cls(
            at=_seconds(doc.get("timestamp"), now),
            service=word("service", service),
            level=word("level", "info"),
            log_type=word("log_type", "general"),
            event=word("event"),
            request_id=word("request_id"),
            trace_id=word("trace_id"),
            text=text,
        )

    def fields(self) -> dict[str, Any]:
        """All fields of the line; a plain line has only `message`."""
        try:
            doc = orjson.loads(self.text)
        except orjson.JSONDecodeError:
            doc = None
        return doc if isinstance(doc, dict) else {"message": self.text}


@dataclass(slots=True)
class Request:
    """One request as the outermost service saw it; `span_id` is its own, a trace may have many."""

    span_id: str
    trace_id: str
    at: float
    request_id: str = ""
    method: str = ""
    route: str = ""
    status: int = 0
    duration_s: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it ended with a server error."""
        return self.status >= 500

    @property
    def slow(self) -> bool:
        """Whether it took longer than the latency objective."""
        return self.duration_s >= SERVICE.latency_s


class Found(NamedTuple):
    """All that is known about one request: spans by start, lines by time."""

    spans: list[SpanRecord]
    lines: list[Line]


class Store:
    """Bounded memory of one process; used from one event loop only."""

    def __init__(
        self, traces: int = 2_000, spans_per_trace: int = 200, spans: int = 30_000,
        lines: int = 20_000,
    ) -> None:  # fmt: skip
        self._max_traces, self._max_trace, self._max_spans = traces, spans_per_trace, spans
        self._traces: OrderedDict[str, dict[str, SpanRecord]] = OrderedDict()
        self._requests: OrderedDict[str, Request] = OrderedDict()
        self.lines: deque[Line] = deque(maxlen=lines)
        self.feed: deque[Line] = deque(maxlen=50)
        self.changes: deque[Line] = deque(maxlen=50)
        self.span_count = 0
        self.spans_seen = 0
        self.line_count = 0  # ever added: tells a reader how many are new

    def add_spans(self, spans: Iterable[SpanRecord]) -> None:
        """Keep these spans; the traces untouched for longest make room."""
        for span in spans:
            trace = self._traces.setdefault(span.trace_id, {})
            self._traces.move_to_end(span.trace_id)
            if span.span_id not in trace:
                if len(trace) >= self._max_trace:
                    continue
                self.span_count += 1
                self.spans_seen += 1
            _trim(span.attributes)
            trace[span.span_id] = span
            if span.kind == "server" and span.service == EDGE:
                self._saw_span(span)
        while len(self._traces) > self._max_traces or self.span_count > self._max_spans:
            self.span_count -= len(self._traces.popitem(last=False)[1])

    def add_line(self, line: Line) -> None:
        """Keep this line; the oldest makes room."""
        self.lines.append(line)
        self.line_count += 1
        if line.event in FEED:
            self.feed.append(line)
        elif line.event in CHANGES:
            self.changes.append(line)
        if line.event == "http.request" and line.service == EDGE and line.trace_id:
            doc = line.fields()
            key = str(doc.get("span_id") or line.request_id)
            request = self._request(key, line.trace_id, line.at)
            request.request_id = line.request_id
            request.method = str(doc.get("http_request_method", ""))
            request.route = str(doc.get("http_route") or request.route)
            request.status = int(_number(doc.get("http_response_status_code")))
            request.duration_s = _number(doc.get("duration_s"))

    def find(self, wanted: str) -> Found | None:
        """Everything about the request with this request ID or trace ID; None if unknown."""
        traces = {r.trace_id for r in self._requests.values() if r.request_id == wanted} | {wanted}
        requests = {wanted}
        for line in self.lines:  # 20,000 lines take about 3 ms: no index to keep in step
            if wanted in (line.request_id, line.trace_id):
                traces.add(line.trace_id or wanted)
                requests.add(line.request_id or wanted)
        spans = [span for tid in traces for span in self._traces.get(tid, {}).values()]
        lines = [x for x in self.lines if x.trace_id == wanted or x.request_id in requests]
        if not lines and not spans:
            return None
        spans.sort(key=lambda span: span.start_ns)
        lines.sort(key=lambda line: line.at)
        return Found(spans, lines)

    def requests(self, kind: str = "recent") -> Iterator[Request]:
        """Known requests, newest first: `recent` (all), `slow`, `failed` or `trouble` (either)."""
        for request in reversed(self._requests.values()):
            kinds = {"recent": True, "slow": request.slow, "failed": request.failed}
            if kinds.get(kind, request.slow or request.failed):
                yield request

    def _request(self, span_id: str, trace_id: str, at: float) -> Request:
        request = self._requests.get(span_id)
        if request is None:
            request = self._requests[span_id] = Request(span_id, trace_id, at)
            if len(self._requests) > self._max_traces:
                self._requests.popitem(last=False)
        return request

    def _saw_span(self, span: SpanRecord) -> None:
        request = self._request(span.span_id, span.trace_id, span.start_ns / 1e9)
        if request.status:  # its access line was here before and knows more
            return
        request.method = str(span.attributes.get("http.request.method", ""))
        request.route = str(span.attributes.get("http.route") or span.name)
        request.status = int(_number(span.attributes.get("http.response.status_code")))
        request.duration_s = span.duration_s


def _trim(attributes: dict[str, Any]) -> None:
    """In place: few and short values, and one string for each key over all spans."""
    kept = list(attributes.items())[:MAX_ATTRIBUTES]
    attributes.clear()
    for key, value in kept:
        short = value if isinstance(value, int | float) else str(value)[:MAX_ATTRIBUTE]
        attributes[intern(key)] = short


def _seconds(timestamp: object, now: float) -> float:
    try:
        at = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return now
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
