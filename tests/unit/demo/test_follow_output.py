"""What `follow` prints, when it stops waiting, and how it reads Loki and Jaeger."""

import io
import json

import httpx
from rich.console import Console

from demo.follow import (
    Found,
    complete,
    from_jaeger,
    from_loki,
    from_prometheus,
    show,
    wait_for,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(
    span_id: str, parent: str, service: str, start: float, **more: object
) -> dict[str, object]:
    own = {"span_id": span_id, "parent_id": parent, "service": service, "start": start}
    rest = {"attributes": {}, "kind": "server", "duration_s": 0.01, "status": "ok"}
    return {**own, **rest, "name": f"do {span_id}", **more}


def row(service: str, **more: object) -> dict[str, object]:
    return {"service": service, "trace_id": TRACE, "timestamp": "2026-11-20T10:00:00Z", **more}


SPANS = [
    span("c", "b", "event", 3.0, status="error", attributes={"http.response.status_code": 409}),
    span("a", "remote", "gateway", 1.0),
    span("b", "a", "gateway", 2.0),
]


def printed(lines: list[dict[str, object]], spans: list[dict[str, object]], **names: str) -> str:
    out = io.StringIO()
    show(Console(file=out, width=80, highlight=False), Found(lines, spans, names))
    return out.getvalue()


def test_spans_stand_under_their_parents_with_services_and_durations() -> None:
    text = printed([row("event", event="reward.claimed", amount=3, reason="none")], SPANS)
    assert text.index("do a") < text.index("└─ gateway  do b") < text.index("   └─ event    do c")
    assert "3 spans of event, gateway" in text
    assert "10.0 ms  +2000.0 ms" in text
    assert "http.response.status_code=409" in text
    assert "event    info    reward.claimed  amount=3" in text
    assert "reason" not in text
    assert "reason=operator" in printed([row("event", event="x", reason="operator")], [])
    assert "\x1b" not in text


def test_markup_and_odd_values_are_printed_as_they_are() -> None:
    text = printed([row("auth", event="[red]x[/red]", timestamp=None, name={"a": 1})], [])
    assert "[red]x[/red]" in text
    assert 'name={"a": 1}' in text
    assert "0 spans" in text


def test_values_do_not_command_the_terminal() -> None:
    evil = "\x1b[2J\x9b31m"
    spans = [span("a", "", "gateway", 1.0, name=evil, attributes={"error.type": evil})]
    text = printed([row(evil, event=evil, level=evil, more=evil)], spans)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert text.count("\\u001b[2J") == 6
    text = printed([row("event", event_id="abc")], [], abc=evil)
    assert "\x1b" not in text
    assert text.count("\\u001b[2J") == 2


def test_names_stand_beside_ids_and_first_of_all() -> None:
    lines = [row("event", event_id="abc", user_id="def"), row("event", event_id="abc")]
    spans = [span("a", "", "event", 1.0, attributes={"reward_id": "ghi"})]
    text = printed(lines, spans, abc="Autumn", ghi="x" * 90, user_id="never asked for")
    event, reward, user, counted, line, *_ = text.splitlines()
    assert (event, reward) == ("event    Autumn  abc", f"reward   {'x' * 80}  ghi")
    assert (user, counted) == ("user     def", "2 log lines")
    assert "event_id=abc (Autumn)  user_id=def" in line


def test_it_waits_for_lines_spans_and_parents_but_not_for_the_client() -> None:
    both = [row("gateway"), row("event")]
    assert complete(both, SPANS)
    assert not complete([*both, row("auth")], SPANS)
    assert not complete(both, [SPANS[0], SPANS[1]])
    assert not complete(both, [])
    assert complete([*both, {"service": "auth"}], SPANS)
    for late in ([], [row("gateway")], [row("gateway"), {"service": "event"}]):
        assert not complete(late, SPANS)


def test_waiting_ends_as_soon_as_it_is_complete() -> None:
    answers = [Found([], []), Found([row("gateway"), row("event")], SPANS)]
    assert wait_for(lambda: answers.pop(0), 60).spans == SPANS
    assert wait_for(lambda: Found([], []), 0) == Found([], [])


def client(answer: dict[str, object], status: int = 200) -> tuple[httpx.Client, list[httpx.URL]]:
    asked: list[httpx.URL] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(status, json=answer)

    return httpx.Client(transport=httpx.MockTransport(reply)), asked


def test_loki_lines_carry_their_labels() -> None:
    stream = {
        "stream": {"service": "event", "log_type": "general"},
        "values": [["1", json.dumps({"event": "b", "timestamp": "2"})], ["0", "plain"]],
    }
    http, asked = client({"data": {"result": [stream]}})
    lines = from_loki(http, "http://loki", "req-00000001")
    assert [line["event"] for line in lines] == ["b", "plain"]
    assert lines[1]["service"] == "event"
    query = '{service=~".+"} | request_id="req-00000001" or trace_id="req-00000001"'
    assert asked[0].params["query"] == query


def test_titles_come_from_prometheus_for_ids_of_the_lines() -> None:
    titles = [
        {"metric": {"event_id": "abc", "title": "Autumn"}},
        {"metric": {"event_id": "abc", "reward_id": "def", "title": "Gold badge"}},
    ]
    http, asked = client({"data": {"result": titles}})
    lines = [row("event", event_id="abc", reward_id="def"), row("event", event_id='x"} or up')]
    assert from_prometheus(http, "http://p", lines) == {"abc": "Autumn", "def": "Gold badge"}
    assert asked[0].params["query"] == (
        'last_over_time(event_info{event_id=~"abc|def"}[1d])'
        ' or last_over_time(reward_info{reward_id=~"abc|def"}[1d])'
    )
    assert from_prometheus(http, "http://p", [row("gateway")]) == {}
    assert len(asked) == 1


def test_jaeger_spans_become_rows_and_an_unknown_trace_has_none() -> None:
    span = {
        "spanID": "b", "operationName": "GET /x", "processID": "p1",
        "references": [{"refType": "CHILD_OF", "spanID": "a"}],
        "startTime": 1_500_000, "duration": 2_000,
        "tags": [{"key": "error", "value": True}, {"key": "span.kind", "value": "server"}],
    }  # fmt: skip
    http, _ = client({"data": [{"spans": [span], "processes": {"p1": {"serviceName": "auth"}}}]})
    (got,) = from_jaeger(http, "http://jaeger", TRACE)
    assert (got["parent_id"], got["service"], got["status"]) == ("a", "auth", "error")
    assert (got["start"], got["duration_s"], got["kind"]) == (1.5, 0.002, "server")
    assert from_jaeger(client({"data": None}, 404)[0], "http://jaeger", TRACE) == []
