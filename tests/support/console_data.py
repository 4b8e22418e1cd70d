"""A console's memory with a little of everything, for tests and screenshots of the pages."""

import json
import time

from console.scrape import Point, Watcher
from console.store import Line, Store
from console.view import View
from plainview.decode import Metrics, SpanRecord, parse_metrics

EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
SERVICES = ("gateway", "auth", "event")
BUSINESS = """
reward_stock_left{event_id="e1",reward_id="r1"} 40
reward_stock_left{event_id="e1",reward_id="r2"} 0
event_participants{event_id="e1"} 120
event_participation_rate{event_id="e1"} 0.25
activity_recent{kind="sign_in"} 25
activity_recent{kind="reward_request"} 7
"""


def trace_of(number: int) -> str:
    return f"{number:032x}"


def request_of(number: int) -> str:
    return f"req-{number:08}"


def span(
    trace: str, ids: tuple[str, str], name: str, service: str, *, at: float, seconds: float
) -> SpanRecord:
    span_id, parent = ids
    kind = "client" if service == "gateway" and parent else "server"
    start, end = int(at * 1e9), int((at + seconds) * 1e9)
    attributes: dict[str, object] = {"http.request.method": "POST", "note": EVIL}
    return SpanRecord(
        trace, span_id, parent, name, kind, start, end, "unset", attributes, [], [], service
    )


def add_request(store: Store, number: int, status: int = 201, seconds: float = 0.02) -> None:
    """A claim: its lines in both services and its spans in three."""
    at = time.time() - 1
    common = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "level": "info",
        "log_type": "general",
        "request_id": request_of(number),
        "trace_id": trace_of(number),
        "span_id": f"a{number}",
    }
    route = "/api/v1/rewards/{id}/requests"
    access = {
        "event": "http.request",
        "http_request_method": "POST",
        "http_route": route,
        "http_response_status_code": status,
        "duration_s": seconds,
    }
    claimed = {"event": "reward.claimed", "reward_id": "r1", "event_id": "e1", "status": "approved"}
    rows = [("event", claimed)] if status == 201 else []
    for service, fields in [*rows, ("event", access), ("gateway", access)]:
        text = json.dumps({**common, "service": service, **fields})
        store.add_line(Line.parse(text, service, at))
    trace = trace_of(number)
    store.add_spans(
        [
            span(trace, (f"a{number}", ""), f"POST {route}", "gateway", at=at, seconds=seconds),
            span(
                trace, ("b", f"a{number}"), "POST", "gateway", at=at + 0.001, seconds=seconds * 0.9
            ),
            span(trace, ("c", "b"), f"POST {route}", "event", at=at + 0.002, seconds=seconds * 0.8),
            span(trace, ("d", "c"), "GET keys", "auth", at=at + 0.003, seconds=seconds * 0.2),
        ]
    )


def view() -> View:
    """Three services, a running event with a hostile title, four requests."""
    store = Store()
    shown = View(store, Watcher(None, dict.fromkeys(SERVICES, "http://x")))  # type: ignore[arg-type]
    now = time.time()
    for service in shown.watcher.services.values():
        service.status, service.version, service.started = "pass", "0.1.0", now - 7500
        service.checks = {"redis": "pass"}
        for i in range(30):
            service.series.append(Point(now - 60 + 2 * i, 2 + i % 3, 0, 0.02, 0.1, 90 * 2**20))
    users = 'active_users{window="day"} 182\nactive_users{window="month"} 2431\n'
    shown.watcher.services["auth"].page = Metrics(parse_metrics(users))
    shown.watcher.services["event"].page = Metrics(parse_metrics(BUSINESS))
    shown.watcher.rounds = 1
    shown.titles.learn("e1", f"Autumn {EVIL}")
    shown.titles.learn("r1", "1,000 points", 100)
    shown.titles.learn("r2", "Golden badge", 25)
    for number, (status, seconds) in enumerate([(201, 0.02), (503, 0.03), (200, 0.9), (201, 0.01)]):
        add_request(store, number, status, seconds)
    return shown
