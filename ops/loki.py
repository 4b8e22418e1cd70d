"""Lines of Loki: read completely, pushed again."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

PAGE = 5000  # Loki's max_entries_limit_per_query in telemetry/loki.yaml
PUSH_LINES = 1000  # lines per push: about 1 MB, Loki takes 4 MB/s


class LokiError(Exception):
    """Loki does not answer as it should; the message says how."""


@dataclass(frozen=True)
class Line:
    """One log line: nanoseconds since the epoch, index labels, structured metadata, text."""

    time_ns: int
    labels: dict[str, str]
    metadata: dict[str, str]
    text: str

    def json(self) -> bytes:
        """One NDJSON line, keys sorted so that equal lines have equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False).encode() + b"\n"


def rfc3339(time_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339, to the microsecond."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="microseconds")


def query_lines(client: httpx.Client, log_type: str, start_ns: int, end_ns: int) -> Iterator[Line]:
    """All lines of [start, end) in order of time, a page at a time.

    Loki's page may end in the middle of lines of one and the same nanosecond. So the last
    time of a full page is held back and asked for again as the first of the next; only when
    one nanosecond alone fills a page is there no way to be complete, and that is an error.
    """
    while start_ns < end_ns:
        page = read_page(client, log_type, start_ns, end_ns)
        if len(page) < PAGE:
            yield from page
            return
        last = page[-1].time_ns
        if page[0].time_ns == last:
            raise LokiError(
                f"{PAGE} or more lines at {rfc3339(last)}: raise max_entries_limit_per_query"
            )
        yield from (line for line in page if line.time_ns < last)
        start_ns = last


def read_page(client: httpx.Client, log_type: str, start_ns: int, end_ns: int) -> list[Line]:
    """Up to PAGE lines from `start_ns` on, sorted by time, then labels and text."""
    reply = client.get(
        "/loki/api/v1/query_range",
        params={
            "query": f'{{log_type="{log_type}"}}',
            "start": start_ns,
            "end": end_ns,
            "limit": PAGE,
            "direction": "forward",
        },
        # Keeps index labels and structured metadata apart in the reply.
        headers={"X-Loki-Response-Encoding-Flags": "categorize-labels"},
    )
    if reply.status_code != 200:
        raise LokiError(f"Loki answered {reply.status_code}: {reply.text[:300]}")
    lines = [
        Line(int(at), stream["stream"], (more or [{}])[0].get("structuredMetadata", {}), text)
        for stream in reply.json()["data"]["result"]
        for at, text, *more in stream["values"]
    ]
    return sorted(lines, key=lambda line: (line.time_ns, sorted(line.labels.items()), line.text))


def push(client: httpx.Client, lines: list[Line]) -> None:
    """Send lines to Loki, grouped into streams by their labels."""
    streams: dict[str, dict[str, Any]] = {}
    for line in lines:
        key = json.dumps(line.labels, sort_keys=True)
        stream = streams.setdefault(key, {"stream": line.labels, "values": []})
        stream["values"].append([str(line.time_ns), line.text, line.metadata])
    for attempt in range(10):
        reply = client.post("/loki/api/v1/push", json={"streams": list(streams.values())})
        if reply.status_code == 204:
            return
        if reply.status_code != 429 and reply.status_code < 500:
            break
        time.sleep(min(0.2 * 2**attempt, 5))  # 429: over the ingestion rate; seconds
    raise LokiError(f"Loki answered {reply.status_code}: {reply.text[:300]}")
