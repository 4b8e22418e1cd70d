"""Show one request everywhere: its log lines and the tree of its spans over all services.

Reads the running demo, or Loki and Jaeger when their addresses are given.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.text import Text

IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{8,64}")
HIDDEN = {"timestamp", "level", "event", "service", "request_id", "trace_id", "span_id"}
HIDDEN |= {"environment", "log_type", "component"}
DETAILS = ("http.response.status_code", "db.operation.name", "db.collection.name", "error.type")
FILE_TAIL = 32 << 20  # bytes of each log file searched when no console runs
Row = dict[str, Any]
Found = tuple[list[Row], list[Row]]  # log lines {service, ...fields}, spans as below


def from_console(http: httpx.Client, url: str, wanted: str) -> Found:
    """Ask the demo's console; nothing found is two empty lists."""
    reply = http.get(f"{url}/api/requests/{wanted}")
    if reply.status_code == 404:
        return [], []
    doc = reply.raise_for_status().json()
    for span in doc["spans"]:
        span["start"] = span["start_ns"] / 1e9
        span["duration_s"] = (span["end_ns"] - span["start_ns"]) / 1e9
    return doc["lines"], doc["spans"]


def from_files(folder: Path, wanted: str) -> Found:
    """Read the log files themselves, rotated ones too: no spans, but it always works."""
    rows: list[Row] = []
    for path in sorted(folder.glob("*.log*")):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - FILE_TAIL))
            for raw in file:
                if wanted.encode() not in raw:
                    continue
                try:
                    row = json.loads(raw)
                except ValueError:
                    continue
                if isinstance(row, dict) and wanted in (row.get("request_id"), row.get("trace_id")):
                    rows.append({"service": path.name.partition(".")[0], **row})
    return sorted(rows, key=lambda row: str(row.get("timestamp"))), []


def from_loki(http: httpx.Client, url: str, wanted: str) -> list[Row]:
    """The request's lines of the last day."""
    query = f'{{service=~".+"}} | request_id="{wanted}" or trace_id="{wanted}"'
    start = str(int((time.time() - 86_400) * 1e9))
    params = {"query": query, "start": start, "limit": "2000", "direction": "forward"}
    reply = http.get(f"{url}/loki/api/v1/query_range", params=params).raise_for_status().json()
    rows: list[Row] = []
    for stream in reply["data"]["result"]:
        for _, text in stream["values"]:
            try:
                row = json.loads(text)
            except ValueError:
                row = {"event": text}
            rows.append({**stream["stream"], **row})
    return sorted(rows, key=lambda row: str(row.get("timestamp")))


def from_jaeger(http: httpx.Client, url: str, trace_id: str) -> list[Row]:
    """The spans of one trace; an unknown trace has none."""
    reply = http.get(f"{url}/api/traces/{trace_id}")
    if reply.status_code == 404:
        return []
    spans: list[Row] = []
    for trace in reply.raise_for_status().json().get("data") or []:
        for span in trace["spans"]:
            tags = {tag["key"]: tag["value"] for tag in span["tags"]}
            parents = [x["spanID"] for x in span["references"] if x["refType"] == "CHILD_OF"]
            spans.append(
                {
                    "span_id": span["spanID"],
                    "parent_id": parents[0] if parents else "",
                    "name": span["operationName"],
                    "service": trace["processes"][span["processID"]]["serviceName"],
                    "kind": tags.get("span.kind", "internal"),
                    "start": span["startTime"] / 1e6,
                    "duration_s": span["duration"] / 1e6,
                    "status": "error" if tags.get("error") in (True, "true") else "unset",
                    "attributes": tags,
                }
            )
    return spans


def complete(lines: Iterable[Row], spans: list[Row]) -> bool:
    """Whether nothing seems to be on its way still: every service that logged has sent spans,
    and no span waits for its parent except the outermost."""
    known = {span["span_id"] for span in spans}
    orphans = [s for s in spans if s.get("parent_id") and s["parent_id"] not in known]
    outermost = min(spans, key=lambda s: s["start"], default=None)
    traced = {str(line["service"]) for line in lines if line.get("trace_id")}
    return (
        bool(spans)
        and all(s is outermost for s in orphans)
        and traced <= {s["service"] for s in spans}
    )


def wait_for(look: Callable[[], Found], seconds: float) -> Found:
    """Look until the request is complete or the time is over (exporters send every few seconds)."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if complete(*found) or time.monotonic() >= deadline:
            return found
        time.sleep(0.5)


def show(console: Console, found: Found) -> None:
    """Print lines, then spans as a tree."""
    lines, spans = found
    console.print(Text(f"{len(lines)} log lines", style="bold"))
    for line in lines:
        console.print(_line(line), soft_wrap=True)
    start = min((span["start"] for span in spans), default=0.0)
    services = sorted({span["service"] for span in spans})
    of = f" of {', '.join(services)}" if services else ""
    console.print(Text(f"\n{len(spans)} spans{of}", style="bold"))
    for branch, span in _tree(spans):
        console.print(Text(branch).append_text(_label(span, start)), soft_wrap=True)


def _tree(spans: list[Row]) -> Iterator[tuple[str, Row]]:
    """Spans with the branches drawn before them: parents first, siblings by start."""
    known = {span["span_id"] for span in spans}
    children: dict[str, list[Row]] = {}
    for span in sorted(spans, key=lambda span: span["start"], reverse=True):
        parent = span.get("parent_id") or ""
        children.setdefault(parent if parent in known else "", []).append(span)
    pending = [("", "", span) for span in children.get("", [])]
    while pending:  # no recursion: a trace may be deeper than Python's stack
        branch, below, span = pending.pop()
        yield branch, span
        for number, child in enumerate(children.get(span["span_id"], [])):
            last = number == 0  # they are in reverse
            corner, bar = ("└─ ", "   ") if last else ("├─ ", "│  ")
            pending.append((below + corner, below + bar, child))


def _line(row: Row) -> Text:
    level = str(row.get("level", "info"))
    colour = {"error": "red", "critical": "red", "warning": "yellow"}.get(level, "")
    try:
        at = datetime.fromisoformat(str(row.get("timestamp"))).astimezone()
        clock = at.strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        clock = "--:--:--.---"
    rest = "  ".join(f"{k}={_value(v)}" for k, v in row.items() if k not in HIDDEN)
    text = Text(f"  {clock}  ", style="dim")
    text.append(f"{row.get('service', '?'):<8}", style="cyan not dim")
    text.append(f" {level:<8}", style=f"{colour} not dim")
    text.append(f"{row.get('event') or row.get('message', '')}  ", style="bold not dim")
    return text.append(rest)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _label(span: Row, start: float) -> Text:
    label = Text(f"{span['service']:<8} ", style="cyan")
    label.append(str(span["name"]), style="bold red" if span["status"] == "error" else "bold")
    label.append(f"  {span['duration_s'] * 1000:.1f} ms", style="green")
    label.append(f"  +{(span['start'] - start) * 1000:.1f} ms  {span['kind']}", style="dim")
    attributes = span.get("attributes") or {}
    return label.append("".join(f"  {k}={attributes[k]}" for k in DETAILS if k in attributes))


def _source(
    http: httpx.Client, demo: Path, loki: str, jaeger: str, wanted: str
) -> tuple[Callable[[], Found], str]:
    def grafana() -> Found:
        lines = from_loki(http, loki, wanted) if loki else []
        traces = {str(line["trace_id"]) for line in lines if line.get("trace_id")}
        if re.fullmatch(r"[0-9a-f]{32}", wanted):
            traces.add(wanted)
        return lines, [s for t in sorted(traces) if jaeger for s in from_jaeger(http, jaeger, t)]

    if loki or jaeger:
        return grafana, " and ".join(filter(None, (loki, jaeger)))
    if (demo / "demo.json").exists():
        url = str(json.loads((demo / "demo.json").read_text())["services"]["console"])
        return (lambda: from_console(http, url, wanted)), f"the demo's console at {url}"
    return (lambda: from_files(demo / "logs", wanted)), f"the files under {demo / 'logs'}"


def main(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="request ID or trace ID")],
    loki: Annotated[str, typer.Option(help="address of Loki")] = os.environ.get("LOKI_URL", ""),
    jaeger: Annotated[str, typer.Option(help="address of Jaeger")] = os.environ.get(
        "JAEGER_URL", ""
    ),
    demo: Annotated[Path, typer.Option(help="folder of the demo")] = Path(".local"),
    wait: Annotated[float, typer.Option(help="seconds to wait for what is under way")] = 8.0,
) -> None:
    """Print one request's log lines and span tree."""
    if not IDENTIFIER.fullmatch(wanted):
        print("That is no request or trace ID: 8 to 64 of A-Z a-z 0-9 . _ -", file=sys.stderr)
        raise typer.Exit(2)
    with httpx.Client(timeout=5) as http:
        look, where = _source(http, demo, loki.rstrip("/"), jaeger.rstrip("/"), wanted)
        try:
            found = wait_for(look, wait)
        except (httpx.HTTPError, OSError, ValueError, KeyError) as exc:
            print(f"Could not ask {where}: {exc or type(exc).__name__}", file=sys.stderr)
            raise typer.Exit(1) from exc
    if not any(found):
        print(
            f"Nothing known of {wanted} in {where}. Is it older than what is kept, or is the "
            "demo not running (`make demo`)?",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    show(Console(highlight=False), found)


if __name__ == "__main__":
    typer.run(main)
