"""What the library costs per request, beside the stock way and prometheus-fastapi-instrumentator.

Each way has a process of its own, which calls an empty route without a network and exports spans
to a receiver in another process. A round measures each way in turn, alternating an observed and a
bare app: the CPU time of all threads until all lines are written and all spans are exported. Other
load of the machine can only add to that, so the lowest value of all rounds counts. The cost of a
way is that of the observed app minus that of the bare app. Exit status 1 if a ratio misses its
goal.

Whether the number of routes matters is asked of 200 routes and of 10 whose endpoint calls a bare
app of 200, so that as much other code runs within a request of either. Looking through 200 routes
leaves little of the library in the processor's caches: it would seem to cost more than beside 10
routes, although it does the same.

    python shared/observability/bench.py [--rounds N] [--json FILE]

Needs `plainview[stock,httpx]`, httpx and prometheus-fastapi-instrumentator.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROUNDS = 7
_REQUESTS = 250  # per app and round
_MANY = 200
_LAST = f"/api/r{_MANY - 1}/1"
#: ways to observe, with the number of routes of the app; the last route is called
WAYS = (
    *(("stock", 10), ("stock", 200)),
    *(("plainview 100 %", 10), ("plainview 100 %", 200), ("plainview 100 %, calls 200", 10)),
    *(("plainview 10 %", 10), ("plainview 10 %", 200)),
    *(("plainview metrics", 10), ("instrumentator", 10)),
)
Key = tuple[str, int]
Costs = dict[Key, list[tuple[float, float]]]  # microseconds, bare and observed, by round


def _over(costs: Costs, key: Key) -> float:
    """Microseconds per request of a way, minus those of bare FastAPI with as many routes."""
    bare, observed = zip(*costs[key], strict=True)
    return float(min(observed) - min(bare))


#: by name: a way, the way that its cost is divided by, and the highest ratio allowed
GOALS: dict[str, tuple[Key, Key, float]] = {
    "library_100pct_10": (("plainview 100 %", 10), ("stock", 10), 0.4),
    "library_10pct_10": (("plainview 10 %", 10), ("stock", 10), 0.2),
    "library_200_over_10": (("plainview 100 %", 200), ("plainview 100 %, calls 200", 10), 1.15),
    "metrics_over_instrumentator": (("plainview metrics", 10), ("instrumentator", 10), 1.0),
}


def measure(rounds: int = ROUNDS) -> Costs:
    """Microseconds of CPU per request of a bare and of an observed app, by way and round."""
    costs: Costs = {key: [] for key in WAYS}
    spawn = get_context("spawn")
    with ExitStack() as stack:
        receiver, *children = (
            stack.enter_context(ProcessPoolExecutor(1, spawn)) for _ in (receive, *WAYS)
        )
        os.environ |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.submit(receive).result(),
            "OTEL_BSP_MAX_QUEUE_SIZE": "8192",  # more than a round's spans, so that none is dropped
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
        }
        for number in range(rounds + 1):
            for key, child in zip(WAYS, children, strict=True):
                pair = child.submit(cost, *key).result()
                if number:  # the first round only warms up
                    costs[key].append(pair)
    return costs


def ratios(costs: Costs) -> dict[str, dict[str, Any]]:
    """For each goal its `value` and `goal`, and whether it `holds`."""
    found = {}
    for name, (way, of, goal) in GOALS.items():
        value = round(_over(costs, way) / _over(costs, of), 3)
        found[name] = {"value": value, "goal": goal, "holds": value <= goal}
    return found


# --- in the child processes ---


class _Receive(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def receive() -> str:
    """Take what exporters send, as long as the process runs; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receive)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


async def _empty(x: str) -> str:
    return x


Flush = Callable[[], None]
Endpoint = Callable[[str], Coroutine[Any, Any, str]]


def _nowhere() -> Any:
    return Path(os.devnull).open("w")


def _nothing() -> None:
    """No spans and no lines to wait for."""


def _calling(app: Any) -> Endpoint:
    async def endpoint(x: str) -> str:
        await _ask(app, _LAST, 1)
        return x

    return endpoint


def _app(way: str, routes: int, endpoint: Endpoint = _empty) -> tuple[Any, Flush]:
    from fastapi import APIRouter, FastAPI  # noqa: PLC0415

    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    router = APIRouter(prefix="/api")
    for number in range(routes):
        router.add_api_route(f"/r{number}/{{x}}", endpoint)
    app.include_router(router)
    if way == "bare":
        return app, _nothing
    if way == "instrumentator":
        from prometheus_fastapi_instrumentator import Instrumentator  # noqa: PLC0415

        Instrumentator().instrument(app)
        return app, _nothing
    if way.startswith("plainview"):
        return app, _plainview(app, way)
    return app, _stock(app)


def _plainview(app: Any, way: str) -> Flush:
    from plainview import (  # noqa: PLC0415
        ObservabilitySettings,
        configure_logging,
        flush_logs,
        observe,
        tracing,
    )

    values: dict[str, Any] = {"health": False, "log_format": "json"}
    if way == "plainview metrics":
        values |= {"logs": False, "traces": False}
    elif way == "plainview 10 %":
        values["trace_sample_ratio"] = 0.1
    settings = ObservabilitySettings(service_name="bench", **values)
    observe(app, settings)
    configure_logging(settings, _nowhere())

    def flush() -> None:
        flush_logs(10)
        if tracing.PIPELINE.batch is not None:
            tracing.PIPELINE.batch.force_flush()

    return flush


def _stock(app: Any) -> Flush:
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from starlette_exporter import PrometheusMiddleware  # noqa: PLC0415

    provider = TracerProvider()
    processor = BatchSpanProcessor(OTLPSpanExporter())
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)

    handler = logging.StreamHandler(_nowhere())
    logging.basicConfig(level="INFO", handlers=[handler], format="%(message)s")
    app.add_middleware(_JsonLine)
    app.add_middleware(PrometheusMiddleware, group_paths=True, prefix="http")
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])

    def flush() -> None:
        processor.force_flush()

    return flush


class _JsonLine:
    """A minimal ASGI middleware that writes a JSON access line by the stdlib's logging."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from opentelemetry import trace  # noqa: PLC0415

        start, status = time.perf_counter(), 0

        async def on_send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self.app(scope, receive, on_send)
        line = {
            "timestamp": time.time(),
            "level": "info",
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_s": time.perf_counter() - start,
            "trace_id": f"{trace.get_current_span().get_span_context().trace_id:032x}",
        }
        logging.getLogger("access").info(json.dumps(line))


async def _ask(app: Any, path: str, requests: int) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        """Nobody reads it."""

    base: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "query_string": b"",
        "scheme": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "path": path,
    }
    headers = [(b"host", b"x"), (b"accept", b"*/*"), (b"user-agent", b"curl/8.0")]
    for _ in range(requests):
        await app({**base, "headers": [*headers]}, receive, send)


@cache
def _apps(way: str, routes: int) -> tuple[tuple[Any, Flush], tuple[Any, Flush]]:
    """A bare and an observed app."""
    way, _, calls = way.partition(", ")
    endpoint = _calling(_app("bare", _MANY)[0]) if calls else _empty
    return _app("bare", routes, endpoint), _app(way, routes, endpoint)


def cost(way: str, routes: int) -> tuple[float, float]:
    """Microseconds per request of both: the least of some, asked in turn."""
    loop, pairs = asyncio.new_event_loop(), []
    gc.collect()
    for _ in range(4):
        pair = []
        for app, flush in _apps(way, routes):
            start = time.process_time()
            loop.run_until_complete(_ask(app, f"/api/r{routes - 1}/1", _REQUESTS))
            flush()
            pair.append((time.process_time() - start) / _REQUESTS * 1e6)
        pairs.append(pair)
    loop.close()
    bare, observed = map(min, zip(*pairs, strict=True))
    return bare, observed


def main() -> int:
    """Print both tables; 1 if a ratio misses its goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write the ratios to this file")
    options = parser.parse_args()
    costs = measure(options.rounds)
    print(f"{'way':34} routes       bare       adds  rounds")  # noqa: T201
    for key, rounds in costs.items():
        bare, over = min(bare for bare, _ in rounds), sorted(seen - plain for plain, seen in rounds)
        spread = f"{over[0]:.0f} to {over[-1]:.0f} us"
        print(f"{key[0]:34} {key[1]:6} {bare:7.0f} us {_over(costs, key):7.0f} us  {spread}")  # noqa: T201
    found = ratios(costs)
    for name, ratio in found.items():
        verdict = "holds" if ratio["holds"] else "MISSES"
        print(f"{name:28} {ratio['value']:.3f}, goal {ratio['goal']}: {verdict}")  # noqa: T201
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(ratio["holds"] for ratio in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
