"""Whether line, metric and span agree on each request of a service with ten kinds of trouble.

    python -m lab.troubles

Serves `examples/troubles/service.py` with uvicorn, asks it, and prints what each signal says; then
counts over two workers. Exit status 1 if signals disagree, or a planted secret is written.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.processes import until
from lab.troubles.serving import ROOT, SEEN_S, SHOP, Served, serving
from plainview.decode import Metrics, parse_metrics

LIBRARY = ROOT / "shared" / "observability"
SECRET = "hunter2"  # noqa: S105 - planted
WORKERS_ASKED = 200


@dataclass(frozen=True)
class Case:
    """A request, and what all signals have to say of it; route None is `__unknown__`."""

    trouble: str
    method: str
    path: str
    route: str | None
    status: int = 200
    before: int = 0  # lines of the application before `http.request`, and after it
    after: int = 0
    fails: bool = False  # a line `http.request.failed` comes last

    @property
    def lines(self) -> list[str]:
        """Events in the order of docs/plainview/signals.md."""
        own = ["log.message"]
        failed = ["http.request.failed"] if self.fails else []
        return [*own * self.before, "http.request", *own * self.after, *failed]


CASES = (
    Case("an ordinary route", "GET", f"/items/1?token={SECRET}", "/items/{item}"),
    Case("a mounted app", "GET", "/sub/items/1", "/sub/items/{item}"),
    Case("a mounted app, observed too", "GET", "/twin/items/1", "/twin/items/{item}"),
    Case("static files", "GET", "/static/shop.py", "/static/{path}"),
    Case("a stream", "GET", "/stream", "/stream"),
    Case("a stream that breaks off", "GET", "/torn", "/torn", fails=True),
    Case("a background task", "POST", "/tasks", "/tasks", after=1),
    Case("a background task that fails", "POST", "/tasks/failing", "/tasks/failing", fails=True),
    Case("logging of its own", "GET", "/logged", "/logged", before=1),
    Case("metrics of its own", "POST", "/orders", "/orders"),
    Case("state of its lifespan", "GET", "/state", "/state"),
    Case("a crash", "GET", "/broken", "/broken", 500, fails=True),
    Case("a wrong method", "DELETE", "/orders", "/orders", 405),
    Case("a scan", "GET", f"/wp-admin.php?password={SECRET}", None, 404),
)


def check(case: Case, number: int, served: Served, page: Metrics) -> tuple[str, list[str]]:
    """What the signals say of a request in one text, and how they are wrong."""
    request_id = _identity(number)
    mine = [line for line in served.lines if line.get("request_id") == request_id]
    access = [line for line in mine if line["event"] == "http.request"]
    spans = [s for s in served.spans if s.attributes.get("request_id") == request_id]
    route = case.route or "__unknown__"
    labels = {"method": case.method, "path": route, "status_code": str(case.status)}
    counted = page.value("http_requests_total", **labels)
    if len(access) != 1 or len(spans) != 1:
        return "", [f"{len(access)} lines and {len(spans)} server spans instead of one each"]
    line, span = access[0], spans[0]
    wanted = (case.method, route, case.status)
    keys = ("http_request_method", "http_route", "http_response_status_code")
    of_line = tuple(line[key] for key in keys)
    of_span = (
        span.attributes["http.request.method"],
        span.attributes.get("http.route", "__unknown__"),
        span.attributes["http.response.status_code"],
    )
    wrong = [f"{said}, not {wanted}" for said in (of_line, of_span) if said != wanted]
    if {each["trace_id"] for each in mine} != {span.trace_id}:
        wrong.append("the lines have another trace than the span")
    if counted != 1:
        wrong.append(f"the metric counts {counted:g} of {labels}")
    if (events := [each["event"] for each in mine]) != case.lines:
        wrong.append(f"the lines are {events}, not {case.lines}")
    return f"{line['http_request_method']} {line['http_route']} {case.status}", wrong


def socket(served: Served, page: Metrics) -> list[str]:
    """How the signals of the WebSocket disagree."""
    lines = [line for line in served.lines if line.get("request_id") == "troubles-socket"]
    spans = [s for s in served.spans if s.attributes.get("request_id") == "troubles-socket"]
    closed = {"path": "/chat/{room}", "close_code": "1000"}
    counted = page.value("websocket_connections_closed_total", **closed)
    said = [line for line in lines if line["event"] == "websocket.closed"]
    if len(said) != 1 or len(spans) != 1 or counted != 1:
        return [f"{len(said)} lines, {len(spans)} spans, {counted:g} counted instead of one each"]
    line, span = said[0], spans[0]
    agree = line["http_route"] == "/chat/{room}" == span.attributes["http.route"]
    return [] if agree and line["trace_id"] == span.trace_id else [f"{line} and {span}"]


def _identity(number: int) -> str:
    return f"troubles-{number}"


def matrix(directory: Path) -> list[str]:
    """Ask for every kind of trouble, print what was found; returns what is wrong."""
    wrong: list[str] = []
    with serving(Path(sys.executable), directory, paths=(SHOP, LIBRARY)) as served:
        for number, case in enumerate(CASES):
            reply = served.ask(case.method, case.path, **{"X-Request-ID": _identity(number)})
            if reply is not None and reply.headers.get("x-request-id") != _identity(number):
                wrong.append(f"{case.trouble}: the reply has no request ID")
        served.chat("/chat/tea", 3, **{"X-Request-ID": "troubles-socket"})

        def complete() -> bool:
            spans = {s.attributes.get("request_id") for s in served.spans}
            wanted = {*map(_identity, range(len(CASES))), "troubles-socket"}
            ended = "websocket_connections_closed_total{" in served.page()
            return ended and wanted <= spans and wanted <= _identities(served)

        until(complete, SEEN_S)
        page = Metrics(parse_metrics(served.page()))
        for number, case in enumerate(CASES):
            says, bad = check(case, number, served, page)
            print(f"{case.trouble:30} {'; '.join(bad) or f'agree: {says}'}")
            wrong += [f"{case.trouble}: {each}" for each in bad]
        bad = socket(served, page)
        print(f"{'a WebSocket':30} {'; '.join(bad) or 'agree: WS /chat/{room}'}")
        wrong += bad
        if page.value("shop_orders_total") != 1:
            wrong.append("the metrics of its own are not on the page")
        told = [line.get("message") for line in served.lines]
        wrong += [f"no line of {text!r}" for text in ("of the shop", "in the background")
                  if text not in told]  # fmt: skip
    written = served.text + repr(served.spans)
    if SECRET in written:
        wrong.append("a planted secret is written")
    if served.text.count("Traceback") != sum(case.fails for case in CASES):
        wrong.append("a failure has another number of tracebacks than one")
    return wrong


def _identities(served: Served) -> set[object]:
    ended = ("http.request", "websocket.closed")
    return {line.get("request_id") for line in served.lines if line["event"] in ended}


def workers(directory: Path) -> list[str]:
    """Count over two workers; returns what is wrong."""
    values = directory / "values"
    values.mkdir()
    options = ("--workers", "2")
    path = {"PROMETHEUS_MULTIPROC_DIR": str(values)}
    with serving(
        Path(sys.executable), directory, paths=(SHOP, LIBRARY), options=options, **path
    ) as served:
        for _ in range(WORKERS_ASKED):
            served.ask("POST", "/orders")

        def counts() -> set[tuple[float, float]]:
            """Requests and orders on several pages, which any of the workers answers."""
            found = set()
            for _ in range(6):
                page = Metrics(parse_metrics(served.page()))
                asked = page.value("http_requests_total", path="/orders")
                found.add((asked, page.value("shop_orders_total")))
            return found

        wanted = {(float(WORKERS_ASKED), float(WORKERS_ASKED))}
        right = until(lambda: counts() == wanted, SEEN_S)
        found = counts()
    says = f"agree: each page counts {WORKERS_ASKED}" if right else f"the pages count {found}"
    print(f"{'two workers':30} {says}")
    return [] if right else [says]


def main() -> int:
    """Print the matrix; 1 if something is wrong."""
    with tempfile.TemporaryDirectory() as directory:
        wrong = matrix(Path(directory)) + workers(Path(directory))
    for each in wrong:
        print(f"wrong: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
