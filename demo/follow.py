"""Show one request everywhere: its log lines and the tree of its spans over all services.

Reads a console (the running demo's, or the one whose token is given), or Loki and Jaeger when their
addresses are given. Events and rewards are named beside their IDs as far as they are known; of a
user there is only the pseudonym that the services log.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import typer
from rich.console import Console
from rich.text import Text

IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{8,64}")
HIDDEN = {"timestamp", "level", "event", "service", "request_id", "trace_id", "span_id"}
HIDDEN |= {"environment", "log_type", "component"}
DETAILS = ("http.response.status_code", "db.operation.name", "db.collection.name", "error.type")
NAMED = {"event_id": "event", "reward_id": "reward", "user_id": "user"}
LONGEST_NAME = 80  # characters
MOST_NAMES = 20  # asked for at once
Row = dict[str, Any]


class Found(NamedTuple):
    """What is known of a request."""

    lines: list[Row]  # {service, ...fields}
    spans: list[Row]  # as `from_jaeger` makes them
    names: Mapping[str, str] = {}  # titles of events and rewards by their IDs


def from_console(http: httpx.Client, url: str, wanted: str) -> Found:
    """Ask the demo's console; nothing found is two empty lists."""
    reply = http.get(f"{url}/api/requests/{wanted}")
    if reply.status_code == 404:
        return Found([], [])
    doc = reply.raise_for_status().json()
    for span in doc["spans"]:
        span["start"] = span["start_ns"] / 1e9
        span["duration_s"] = (span["end_ns"] - span["start_ns"]) / 1e9
    return Found(doc["lines"], doc["spans"], doc.get("names", {}))


def _row(text: str, service: str) -> Row:
    with suppress(ValueError):
        if isinstance(row := json.loads(text), dict):
            return {"service": service, **row}
    return {"service": service, "event": text}


def from_loki(http: httpx.Client, url: str, wanted: str) -> list[Row]:
    """The request's lines of the last day."""
    query = f'{{service=~".+"}} | request_id="{wanted}" or trace_id="{wanted}"'
    start = str(int((time.time() - 86_400) * 1e9))
    params = {"query": query, "start": start, "limit": "2000", "direction": "forward"}
    reply = http.get(f"{url}/loki/api/v1/query_range", params=params).raise_for_status().json()
    streams = reply["data"]["result"]
    rows = [
        _row(text, x["stream"].get("service", "?")) for x in streams for _, text, *_ in x["values"]
    ]
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


def from_prometheus(http: httpx.Client, url: str, rows: Iterable[Row]) -> dict[str, str]:
    """Titles, by ID, of the lines' events that ran in the last day, and of their rewards."""
    known = {str(row[key]) for row in rows for key in ("event_id", "reward_id") if key in row}
    wanted = "|".join(sorted(filter(str.isalnum, known))[:MOST_NAMES])
    if not wanted:
        return {}
    query = " or ".join(
        f'last_over_time({metric}{{{label}=~"{wanted}"}}[1d])'
        for metric, label in (("event_info", "event_id"), ("reward_info", "reward_id"))
    )
    reply = http.get(f"{url}/api/v1/query", params={"query": query}).raise_for_status().json()
    labels = [sample["metric"] for sample in reply["data"]["result"]]
    return {each.get("reward_id") or each["event_id"]: each["title"] for each in labels}


def complete(lines: Iterable[Row], spans: list[Row]) -> bool:
    """Whether nothing seems to be on its way still: every service that logged has sent spans,
    every one that served has logged, and no span waits for its parent except the outermost."""
    known = {span["span_id"] for span in spans}
    first = min(spans, key=lambda s: s["start"], default=None)
    orphans = [s for s in spans if s is not first and s["parent_id"] not in known]
    logged = {str(line["service"]) for line in lines if line.get("trace_id")}
    served = {str(span["service"]) for span in spans if span["kind"] == "server"}
    sent = {str(span["service"]) for span in spans}
    return bool(spans) and not orphans and served <= logged <= sent


def wait_for(look: Callable[[], Found], seconds: float) -> Found:
    """Look until the request is complete or the time is over (exporters send every few seconds)."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if complete(found.lines, found.spans) or time.monotonic() >= deadline:
            return found
        time.sleep(0.5)


def show(console: Console, found: Found) -> None:
    """Print whom and what it was about, lines, then spans as a tree."""
    lines, spans, names = found
    for word, any_id in _about([*lines, *(span["attributes"] for span in spans)]):
        console.print(_subject(word, any_id, names), soft_wrap=True)
    console.print(Text(f"{len(lines)} log lines", style="bold"))
    for line in lines:
        console.print(_line(line, names), soft_wrap=True)
    start = min((span["start"] for span in spans), default=0.0)
    services = sorted({span["service"] for span in spans})
    of = f" of {_value(', '.join(services))}" if services else ""
    console.print(Text(f"\n{len(spans)} spans{of}", style="bold"))
    for branch, span in _tree(spans):
        console.print(Text(branch).append_text(_label(span, start)), soft_wrap=True)


def _about(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Events, rewards and users that lines or spans have IDs of, each once."""
    found = [(NAMED[key], str(row[key])) for key in NAMED for row in rows if row.get(key)]
    return list(dict.fromkeys(found))[:MOST_NAMES]


def _subject(word: str, any_id: str, names: Mapping[str, str]) -> Text:
    text = Text(f"{word:<8} ", style="cyan")
    text.append(_value(names.get(any_id, "")[:LONGEST_NAME]), style="bold not cyan")
    return text.append(f"{'  ' if any_id in names else ''}{_value(any_id)}", style="dim")


def _tree(spans: list[Row]) -> Iterator[tuple[str, Row]]:
    """Spans with the branches drawn before them: parents first, siblings by start."""
    known = {span["span_id"] for span in spans}
    children: dict[str, list[Row]] = {}
    for span in sorted(spans, key=lambda span: span["start"], reverse=True):
        parent = span["parent_id"]
        children.setdefault(parent if parent in known else "", []).append(span)
    pending = [("", "", span) for span in children.get("", [])]
    while pending:  # no recursion: a trace may be deeper than Python's stack
        branch, below, span = pending.pop()
        yield branch, span
        for number, child in enumerate(children.get(span["span_id"], [])):
            last = number == 0  # they are in reverse
            corner, bar = ("└─ ", "   ") if last else ("├─ ", "│  ")
            pending.append((below + corner, below + bar, child))


def _line(row: Row, names: Mapping[str, str]) -> Text:
    level = str(row.get("level", "info"))
    colour = {"error": "red", "critical": "red", "warning": "yellow"}.get(level, "")
    try:
        at = datetime.fromisoformat(str(row.get("timestamp"))).astimezone()
        clock = at.strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        clock = "--:--:--.---"
    told = {k: v for k, v in row.items() if k not in HIDDEN and (k, v) != ("reason", "none")}
    rest = "  ".join(f"{_value(k)}={_value(v)}{_name(k, v, names)}" for k, v in told.items())
    text = Text(f"  {clock}  ", style="dim")
    text.append(f"{_value(row['service']):<8}", style="cyan not dim")
    text.append(f" {_value(level):<8}", style=f"{colour} not dim")
    text.append(f"{_value(row.get('event', ''))}  ", style="bold not dim")
    return text.append(rest)


def _name(key: str, value: object, names: Mapping[str, str]) -> str:
    found = names.get(str(value), "") if key in NAMED else ""
    return f" ({_value(found[:LONGEST_NAME])})" if found else ""


def _value(value: object) -> str:
    """Values from outside must not command the terminal: what is not printable is escaped."""
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _label(span: Row, start: float) -> Text:
    label = Text(f"{_value(span['service']):<8} ", style="cyan")
    label.append(_value(span["name"]), style="bold red" if span["status"] == "error" else "bold")
    label.append(f"  {span['duration_s'] * 1000:.1f} ms", style="green")
    label.append(f"  +{(span['start'] - start) * 1000:.1f} ms  {_value(span['kind'])}", style="dim")
    found = span["attributes"]
    return label.append("".join(f"  {k}={_value(found[k])}" for k in DETAILS if k in found))


def from_stores(http: httpx.Client, urls: Iterable[str], wanted: str) -> Found:
    """Of Loki, Jaeger and Prometheus ask those whose address is known: lines, spans, names."""
    loki, jaeger, prometheus = urls
    lines = from_loki(http, loki, wanted) if loki else []
    traces = {str(line["trace_id"]) for line in lines if line.get("trace_id")}
    if re.fullmatch(r"[0-9a-f]{32}", wanted):
        traces.add(wanted)
    spans = [s for t in sorted(traces) if jaeger for s in from_jaeger(http, jaeger, t)]
    names: dict[str, str] = {}
    with suppress(httpx.HTTPError, ValueError, KeyError):  # the lines are worth more
        names = from_prometheus(http, prometheus, lines) if prometheus else {}
    return Found(lines, spans, names)


def main(
    wanted: Annotated[str, typer.Argument(metavar="ID", help="request ID or trace ID")],
    *,
    loki: Annotated[str, typer.Option(envvar="LOKI_URL", help="address of Loki")] = "",
    jaeger: Annotated[str, typer.Option(envvar="JAEGER_URL", help="address of Jaeger")] = "",
    prometheus: Annotated[
        str, typer.Option(envvar="PROMETHEUS_URL", help="address of Prometheus, beside Loki's")
    ] = "",
    console: Annotated[
        str, typer.Option(envvar="CONSOLE_URL", help="asked with the token in CONSOLE_TOKEN")
    ] = "http://127.0.0.1:8080",
    demo: Annotated[Path, typer.Option(envvar="LOCAL_DIR", help="where demo.json is")] = Path(
        ".local"
    ),
    wait: Annotated[float, typer.Option(help="seconds to wait for what is under way")] = 8.0,
) -> None:
    """Print one request's log lines and span tree."""
    if not IDENTIFIER.fullmatch(wanted):
        print("That is no request or trace ID: 8 to 64 of A-Z a-z 0-9 . _ -", file=sys.stderr)
        raise typer.Exit(2)
    stores = [url.rstrip("/") for url in (loki, jaeger, prometheus)]
    where, info = " and ".join(filter(None, stores[:2])), demo / "demo.json"
    with httpx.Client(timeout=5, trust_env=False) as http:
        look = partial(from_stores, http, stores, wanted)
        if not where:
            where = "the console"
            if info.exists():
                console = str(json.loads(info.read_text())["services"]["console"])
                where = "the demo's console"
            elif token := os.environ.get("CONSOLE_TOKEN"):
                http.headers["Authorization"] = f"Bearer {token}"
            look = partial(from_console, http, console.rstrip("/"), wanted)
            where = f"{where} at {console}"
        try:
            found = wait_for(look, wait)
        except (httpx.HTTPError, OSError, ValueError, KeyError) as exc:
            print(f"Could not ask {where}: {exc or type(exc).__name__}", file=sys.stderr)
            raise typer.Exit(1) from exc
    if not any(found):
        hint = "Is it older than what is kept, or the demo not running (`make demo`)?"
        print(f"Nothing known of {wanted} in {where}. {hint}", file=sys.stderr)
        raise typer.Exit(1)
    show(Console(highlight=False), found)


if __name__ == "__main__":
    typer.run(main)
