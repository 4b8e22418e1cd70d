"""Requests of many kinds to `many_routes`: one list for every server.

`disagreements()` compares what line, metric and span say of each; how they were asked, and where
the signals were gathered, is the caller's part.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from plainview.decode import SpanRecord
from tests.support.many_routes import HERE, LIVE_ROUTERS, SECRET


@dataclass(frozen=True)
class Situation:
    """A request, or a WebSocket connection, and what all signals have to say of it."""

    method: str  # "WS" of a connection
    path: str
    route: str | None  # None: `__unknown__` in lines and metrics, absent in spans
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False  # the application raises: one line `http.request.failed`
    late: bool = False  # it does so after the reply was sent, so the span is no failure
    code: str = ""  # of a connection: why it was closed, as the metric says it
    needs: str = ""  # what not every server, client or middleware can do

    @property
    def label(self) -> str:
        """The method in signals."""
        known = ("GET", "HEAD", "POST", "OPTIONS")
        return "GET" if self.method == "WS" else self.method if self.method in known else "_OTHER"

    @property
    def span_name(self) -> str:
        word = {"_OTHER": "HTTP"}.get(self.label, self.label)
        word = "WS" if self.method == "WS" else word
        return f"{word} {self.route}" if self.route else word

    @property
    def counted(self) -> tuple[str, str, str]:
        """Labels of its metric."""
        first = "WS" if self.method == "WS" else self.label
        return first, self.route or "__unknown__", self.code or str(self.status)


PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
HOST = {"Host": "api.example.org"}
FEW = [
    Situation("GET", f"/own/1?token={SECRET}", "/own/{i}"),
    Situation("GET", "/tenants/acme/items/1", "/tenants/{tenant}/items/{i}"),
    Situation("GET", "/broken", "/broken", 500, fails=True),
    Situation("GET", "/background", "/background", fails=True, late=True),
    Situation("GET", f"/scan.php?password={SECRET}", None, 404),
]
ALL = [
    *FEW,
    Situation("GET", "/own/x", "/own/{i}", 422),
    Situation("GET", "/own/1/", None, 307),
    Situation("POST", "/own/1", "/own/{i}", 405),
    Situation("GET", "/api/r/in/1", "/api/r/in/{i}"),
    Situation("GET", "/api/raw/1", "/api/raw/{i}"),
    Situation("GET", "/raw/1", "/raw/{i}"),
    Situation("GET", "/tenants/acme/docs", "/tenants/{tenant}/docs"),
    Situation("GET", "/tenants/acme/broken", "/tenants/{tenant}/broken", 500, fails=True),
    Situation("GET", "/tenants/acme/none", None, 404),
    Situation("GET", "/twin/items/1", "/twin/items/{i}"),
    Situation("GET", "/starlette/1", "/starlette/{i}"),
    Situation("GET", "/starlette/1/2", None, 404),
    Situation("GET", f"/static/{HERE.name}", "/static/{path}"),
    Situation("GET", "/static/none", "/static/{path}", 404),
    Situation("GET", "/hosted/1", "/hosted/{i}", headers=HOST),
    Situation("GET", "/fastapi/1", "/fastapi/{i}", headers=HOST),
    Situation("GET", "/docs", "/docs"),
    Situation("HEAD", "/docs", "/docs"),
    Situation("GET", "/openapi.json", "/openapi.json"),
    Situation("OPTIONS", "/own/1", None, headers=PREFLIGHT),
    Situation("GET", "/teapot", "/teapot", 418),
    Situation("GET", "/unavailable", "/unavailable", 503),
    Situation("GET", "/stream", "/stream"),
    Situation("GET", "/torn", "/torn", fails=True, needs="breaking off"),
    Situation("PURGE", "/purged", "/purged"),
    Situation("PURGE", "/own/1", None, 405),
    Situation("FOO", "/nowhere", None, 404, needs="methods of one's own"),
    Situation("GET", "/long", "/long", needs="leaving"),
    Situation("WS", "/chat/closes", "/chat/{room}", 101, code="4001"),
    Situation("WS", "/chat/left", "/chat/{room}", 101, code="1001"),
    Situation("WS", "/chat/fails", "/chat/{room}", 101, fails=True, code="1011"),
    Situation("WS", "/nowhere", None, 403, code="refused"),
]
if LIVE_ROUTERS:
    ALL.append(Situation("GET", "/api/deep/1", "/api/deep/{i}"))


def possible(*lacking: str) -> list[Situation]:
    """All but what `needs` something that a server, client or middleware lacks."""
    return [each for each in ALL if each.needs not in lacking]


@dataclass(frozen=True)
class Asked:
    """A situation that was asked for under an ID, and what came back of it."""

    situation: Situation
    request_id: str
    status: int
    replied_id: str | None


def ask(client: httpx.Client, situation: Situation, request_id: str) -> Asked:
    """Ask by a client that is blocking, of a server or starlette's TestClient."""
    headers = {**situation.headers, "X-Request-ID": request_id}
    with (
        client.stream(situation.method, situation.path, headers=headers) as reply,
        contextlib.suppress(httpx.RemoteProtocolError),  # the reply breaks off
    ):
        for _ in reply.iter_raw():
            if situation.needs == "leaving":
                break
    return Asked(situation, request_id, reply.status_code, reply.headers.get("X-Request-ID"))


def counts(samples: Iterable[Any], *app_names: str) -> Counter[tuple[str, str, str]]:
    """What the metrics count, as `Situation.counted`; of these apps, if any are given.

    Samples are those of prometheus_client or plainview.decode.
    """
    found: Counter[tuple[str, str, str]] = Counter()
    for sample in samples:
        labels = sample.labels
        if not sample.value or (app_names and labels.get("app_name") not in app_names):
            continue
        if sample.name == "http_requests_total":
            found[labels["method"], labels["path"], labels["status_code"]] += int(sample.value)
        elif sample.name == "websocket_connections_closed_total":
            found["WS", labels["path"], labels["close_code"]] += int(sample.value)
    return found


def wanted(asked: Iterable[Asked]) -> Counter[tuple[str, str, str]]:
    """What the metrics have to count."""
    return Counter(each.situation.counted for each in asked)


def disagreements(
    asked: Sequence[Asked],
    lines: Sequence[Mapping[str, Any]],
    spans: Sequence[SpanRecord],
    counted: Counter[tuple[str, str, str]],
) -> list[str]:
    """In words what is not as it should be; `lines` and `spans` are all that were written."""
    wrong = [f"not counted: {key}" for key in (wanted(asked) - counted)]
    wrong += [f"counted too often: {key}" for key in (counted - wanted(asked))]
    ended = [line for line in lines if line["event"] in ("http.request", "websocket.closed")]
    served = [span for span in spans if span.kind == "server"]
    if not len(ended) == len(served) == len(asked):
        wrong.append(f"{len(asked)} asked, {len(ended)} lines, {len(served)} spans")
    for each in asked:
        mine = [line for line in lines if line.get("request_id") == each.request_id]
        access = [line for line in mine if line in ended]
        own = [span for span in served if span.attributes.get("request_id") == each.request_id]
        what = f"{each.situation.method} {each.situation.path}"
        if len(access) != 1 or len(own) != 1:
            wrong.append(f"{what}: {len(access)} lines and {len(own)} spans instead of one each")
        else:
            wrong += [f"{what}: {text}" for text in _compared(each, mine, access[0], own[0])]
    return wrong


def _compared(
    asked: Asked,
    mine: list[Mapping[str, Any]],
    line: Mapping[str, Any],
    span: SpanRecord,
) -> list[str]:
    situation, route = asked.situation, asked.situation.route or "__unknown__"
    socket = situation.method == "WS"
    method = None if socket else situation.label
    failed = situation.status >= 500 or (situation.fails and not situation.late)
    refused = situation.code == "refused"  # the server's own reply
    pairs = {
        "status of the reply": (asked.status, situation.status),
        "ID of the reply": (asked.replied_id, None if refused else asked.request_id),
        "event": (line["event"], "websocket.closed" if socket else "http.request"),
        "method of the line": (line.get("http_request_method"), method),
        "route of the line": (line["http_route"], route),
        "status of the line": (line["http_response_status_code"], situation.status),
        "IDs of line and span": (
            (line["trace_id"], line["span_id"]), (span.trace_id, span.span_id),
        ),
        "traces of the lines": ({each["trace_id"] for each in mine}, {span.trace_id}),
        "method of the span": (span.attributes["http.request.method"], situation.label),
        "route of the span": (span.attributes.get("http.route"), situation.route),
        "status of the span": (span.attributes["http.response.status_code"], situation.status),
        "name of the span": (span.name, situation.span_name),
        "verdict of the span": (span.status, "error" if failed else "unset"),
        "failures": (
            [each["event"] for each in mine if "exception_type" in each],
            ["http.request.failed"] * situation.fails,
        ),
    }  # fmt: skip
    if socket and not refused:
        code = str(line.get("websocket_close_code"))
        pairs["code of the line"] = (code, situation.code)
    return [f"{name}: {has!r}, not {must!r}" for name, (has, must) in pairs.items() if has != must]
