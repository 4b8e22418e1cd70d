"""What the library costs per request, beside the stock way, FastAPI's own telemetry and others.

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
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROUNDS = 7
_REQUESTS = 250  # per app and round
_MANY = 200
_LAST = f"/api/r{_MANY - 1}/1"
#: ways to observe, with the number of routes of the app; the last route is called
WAYS = (
    *(("stock", 10), ("stock", 200)),
    *(("plainview 100 %", 10), ("plainview 100 %", 200), ("plainview 10 %", 10)),
    ("plainview 100 %, calls 200", 10),
    *(("plainview 10 %", 200), ("plainview metrics", 10), ("instrumentator", 10)),
    *(("spans only: plainview", 10), ("spans only: FastAPI's own", 10)),
    *(("spans only: ASGI middleware", 10), ("spans only: FastAPIInstrumentor", 10)),
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
    with ExitStack() as stack:
        endpoint = stack.enter_context(_receiver())
        children = {key: stack.enter_context(_child(*key, endpoint)) for key in WAYS}
        for _ in range(rounds):
            for key, ask in children.items():
                costs[key].append(ask())
    return costs


def ratios(costs: Costs) -> dict[str, dict[str, Any]]:
    """For each goal its `value` and `goal`, and whether it `holds`."""
    found = {}
    for name, (way, of, goal) in GOALS.items():
        value = round(_over(costs, way) / _over(costs, of), 3)
        found[name] = {"value": value, "goal": goal, "holds": value <= goal}
    return found


@contextmanager
def _process(*words: str, **environment: str) -> Iterator[Callable[[str], str]]:
    """Run this file in a process; the callable sends it a line and returns its answer."""
    root = str(Path(__file__).parent)
    with subprocess.Popen(  # noqa: S603 - this file
        [sys.executable, __file__, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root, **environment},
        text=True,
    ) as process:
        given, answers = process.stdin, process.stdout

        def ask(line: str) -> str:
            print(line, file=given, flush=True)
            answer = answers.readline() if answers else ""
            if not answer:
                raise RuntimeError(f"{words} ended without an answer")
            return answer.strip()

        try:
            yield ask
        finally:
            if given:
                given.close()


@contextmanager
def _receiver() -> Iterator[str]:
    with _process("--receive") as ask:
        yield ask("where")


@contextmanager
def _child(way: str, routes: int, endpoint: str) -> Iterator[Callable[[], tuple[float, float]]]:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_MAX_QUEUE_SIZE": "8192",  # more than a round's spans, so that none is dropped
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    }
    with _process("--way", way, str(routes), **variables) as ask:
        ask("warm")
        yield lambda: _pair(ask("round"))


def _pair(answer: str) -> tuple[float, float]:
    bare, observed = answer.split()
    return float(bare), float(observed)


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


def receive() -> None:
    """Take what exporters send until the standard input ends."""
    import threading  # noqa: PLC0415

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receive)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for _ in sys.stdin:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201


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

    own = way.endswith("FastAPI's own")
    app = FastAPI(telemetry={"tracing": own, "metrics": False, "logs": False})
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
    if way == "spans only: plainview" or way.startswith("plainview"):
        return app, _plainview(app, way)
    return app, _stock(app, way)


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
    elif way.startswith("spans only"):
        values |= {"logs": False, "metrics": False}
    settings = ObservabilitySettings(service_name="bench", **values)
    observe(app, settings)
    configure_logging(settings, _nowhere())

    def flush() -> None:
        flush_logs(10)
        if tracing.PIPELINE.batch is not None:
            tracing.PIPELINE.batch.force_flush()

    return flush


def _stock(app: Any, way: str) -> Flush:
    import logging  # noqa: PLC0415

    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from starlette_exporter import PrometheusMiddleware  # noqa: PLC0415

    provider = TracerProvider()
    processor = BatchSpanProcessor(OTLPSpanExporter())
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)

    def flush() -> None:
        processor.force_flush()

    if way.endswith("FastAPI's own"):
        return flush
    if way.endswith("ASGI middleware"):
        app.add_middleware(OpenTelemetryMiddleware, exclude_spans=["receive", "send"])
        return flush
    if way == "stock":
        handler = logging.StreamHandler(_nowhere())
        logging.basicConfig(level="INFO", handlers=[handler], format="%(message)s")
        app.add_middleware(_JsonLine)
        app.add_middleware(PrometheusMiddleware, group_paths=True, prefix="http")
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    return flush


class _JsonLine:
    """A minimal ASGI middleware that writes a JSON access line by the stdlib's logging."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        import logging  # noqa: PLC0415

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


def serve(way: str, routes: int) -> None:
    """For each line of the input, call both apps and print what each costs."""
    way, _, calls = way.partition(", ")
    endpoint = _calling(_app("bare", _MANY)[0]) if calls else _empty
    bare, nothing = _app("bare", routes, endpoint)
    app, flush = _app(way, routes, endpoint)
    loop = asyncio.new_event_loop()

    def cost(app: Any, flush: Flush) -> float:
        start = time.process_time()
        loop.run_until_complete(_ask(app, f"/api/r{routes - 1}/1", _REQUESTS))
        flush()
        return (time.process_time() - start) / _REQUESTS * 1e6

    for _ in sys.stdin:
        gc.collect()
        pairs = [(cost(bare, nothing), cost(app, flush)) for _ in range(4)]
        print(*map(min, zip(*pairs, strict=True)), flush=True)  # noqa: T201


def main() -> int:
    """Print both tables; 1 if a ratio misses its goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write the ratios to this file")
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        receive()
        return 0
    if options.way:
        serve(options.way[0], int(options.way[1]))
        return 0
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
