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


REQUEST, CLOSED = "http.request", "websocket.closed"
OWN, FAILED = "log.message", "http.request.failed"
#: fields of the line that ends a request, and attributes of its span
SAID = {
    "http_route": "http.route",
    "http_request_method": "http.request.method",
    "http_response_status_code": "http.response.status_code",
}


@dataclass(frozen=True)
class Case:
    """A request, and what all signals have to say of it; route None is `__unknown__`."""

    trouble: str
    method: str  # or WS
    path: str
    route: str | None
    status: int = 200
    lines: tuple[str, ...] = (REQUEST,)  # in the order of docs/plainview/signals.md

    @property
    def request_id(self) -> str:
        """Its own."""
        return f"troubles-{self.trouble.replace(',', '').replace(' ', '-')}"


CASES = (
    Case("an ordinary route", "GET", f"/items/1?token={SECRET}", "/items/{item}"),
    Case("a mounted app", "GET", "/sub/items/1", "/sub/items/{item}"),
    Case("a mounted app, observed too", "GET", "/twin/items/1", "/twin/items/{item}"),
    Case("static files", "GET", "/static/shop.py", "/static/{path}"),
    Case("a stream", "GET", "/stream", "/stream"),
    Case("a stream that breaks off", "GET", "/torn", "/torn", 200, (REQUEST, FAILED)),
    Case("a background task", "POST", "/tasks", "/tasks", 200, (REQUEST, OWN)),
    Case("a background task that fails", "POST", "/tasks/failing", "/tasks/failing", 200,
         (REQUEST, FAILED)),
    Case("logging of its own", "GET", "/logged", "/logged", 200, (OWN, REQUEST)),
    Case("metrics of its own", "POST", "/orders", "/orders"),
    Case("state of its lifespan", "GET", "/state", "/state"),
    Case("a crash", "GET", "/broken", "/broken", 500, (REQUEST, FAILED)),
    Case("a wrong method", "DELETE", "/orders", "/orders", 405),
    Case("a scan", "GET", f"/wp-admin.php?password={SECRET}", None, 404),
    Case("a WebSocket", "WS", "/chat/tea", "/chat/{room}", 1000, (CLOSED,)),
)  # fmt: skip


def check(case: Case, served: Served, page: Metrics) -> list[str]:
    """How the signals of a request are wrong."""
    mine = [line for line in served.lines if line.get("request_id") == case.request_id]
    ends = [line for line in mine if line["event"] in (REQUEST, CLOSED)]
    spans = [s for s in served.spans if s.attributes.get("request_id") == case.request_id]
    route = case.route or "__unknown__"
    wanted: tuple[object, ...] = (route, case.method, case.status)
    if case.method == "WS":
        name, labels = "websocket_connections_closed_total", {"close_code": str(case.status)}
        wanted = (route,)
    else:
        name = "http_requests_total"
        labels = {"method": case.method, "status_code": str(case.status)}
    counted = page.value(name, path=route, **labels)
    if len(ends) != 1 or len(spans) != 1 or counted != 1:
        return [f"{len(ends)} lines, {len(spans)} spans, {counted:g} counted instead of one each"]
    (line,), (span,) = ends, spans
    attributes = {"http.route": "__unknown__", **span.attributes}
    keys = [*SAID.items()][: len(wanted)]
    told = (tuple(line[field] for field, _ in keys), tuple(attributes[name] for _, name in keys))
    wrong = [f"{said}, not {wanted}" for said in told if said != wanted]
    if {each["trace_id"] for each in mine} != {span.trace_id}:
        wrong.append("the lines have another trace than the span")
    # of a WebSocket the server says something, too
    events = tuple(each["event"] for each in mine)
    if events != case.lines and case.method != "WS":
        wrong.append(f"the lines are {events}, not {case.lines}")
    return wrong


def matrix(directory: Path) -> list[str]:
    """Ask for every kind of trouble, print what was found; returns what is wrong."""
    wrong: list[str] = []
    with serving(Path(sys.executable), directory, paths=(SHOP, LIBRARY)) as served:
        for case in CASES:
            given = {"X-Request-ID": case.request_id}
            if case.method == "WS":
                served.chat(case.path, 3, **given)
                continue
            reply = served.ask(case.method, case.path, **given)
            if reply is not None and reply.headers.get("x-request-id") != case.request_id:
                wrong.append(f"{case.trouble}: the reply has no request ID")

        def complete() -> bool:
            wanted = {case.request_id for case in CASES}
            spans = {s.attributes.get("request_id") for s in served.spans}
            lines = served.lines
            ends = {each.get("request_id") for each in lines if each["event"] in (REQUEST, CLOSED)}
            ended = "websocket_connections_closed_total{" in served.page()
            return ended and wanted <= spans and wanted <= ends

        until(complete, SEEN_S)
        page = Metrics(parse_metrics(served.page()))
        for case in CASES:
            bad = check(case, served, page)
            agree = f"agree: {case.method} {case.route or '__unknown__'} {case.status}"
            print(f"{case.trouble:30} {'; '.join(bad) or agree}")
            wrong += [f"{case.trouble}: {each}" for each in bad]
        if page.value("shop_orders_total") != 1:
            wrong.append("the metrics of its own are not on the page")
        told_of = [line.get("message") for line in served.lines]
        wrong += [f"no line of {text!r}" for text in ("of the shop", "in the background")
                  if text not in told_of]  # fmt: skip
    if SECRET in served.text + repr(served.spans):
        wrong.append("a planted secret is written")
    if served.text.count("Traceback") != sum(FAILED in case.lines for case in CASES):
        wrong.append("a failure has another number of tracebacks than one")
    return wrong


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
