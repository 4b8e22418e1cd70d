"""What the console makes of metric pages and health replies."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from console.render import WORDS, percent, piece, span
from console.scrape import Metrics, Watcher, quantile, read_health
from console.settings import ConsoleSettings
from console.store import Line
from console.titles import Titles
from plainview.decode import Sample, parse_metrics
from tests.support.console_data import view

HEALTH = {
    "status": "warn",
    "checks": {"mongo": [{"status": "pass"}], "redis": [{"status": "warn"}]},
}


def page(requests: int, errors: int, cpu: float, started: float = 1000.0) -> str:
    total = requests + errors
    return f"""
http_requests_total{{method="GET",path="/x",status_code="200",app_name="a"}} {requests}
http_requests_total{{method="GET",path="/x",status_code="500",app_name="a"}} {errors}
http_request_duration_seconds_bucket{{path="/x",le="0.1"}} {total / 2}
http_request_duration_seconds_bucket{{path="/x",le="0.5"}} {total}
http_request_duration_seconds_bucket{{path="/x",le="+Inf"}} {total}
process_cpu_seconds_total {cpu}
process_resident_memory_bytes 1e+08
process_start_time_seconds {started}
container_cpu_limit_cores 2
service_info{{version="0.1.0",environment="test"}} 1
"""


class Service:
    """Answers as it is told."""

    def __init__(self) -> None:
        self.metrics, self.health = page(0, 0, 0.0), HEALTH
        self.dead = self.hangs = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.dead:
            raise httpx.ConnectError("refused")
        if self.hangs:
            raise httpx.ReadTimeout("no answer")
        if request.url.path == "/metrics":
            return httpx.Response(200, text=self.metrics)
        return httpx.Response(200, json=self.health)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [5000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def watcher(service: Service) -> Watcher:
    http = httpx.AsyncClient(transport=httpx.MockTransport(service))
    return Watcher(http, {"event": "http://event"})


async def test_rates_errors_percentile_and_cpu_are_of_the_difference(
    clock: Callable[[float], None],
) -> None:
    service = Service()
    watch = watcher(service)
    service.metrics = page(1000, 10, 50.0)
    await watch.look()
    clock(2)
    service.metrics = page(1018, 12, 50.5)
    await watch.look()
    seen = watch.services["event"]
    assert (seen.status, seen.version, seen.started) == ("warn", "0.1.0", 1000.0)
    assert seen.checks == {"mongo": "pass", "redis": "warn"}
    assert seen.now.rate == pytest.approx(10)
    assert seen.now.errors == pytest.approx(0.1)
    assert seen.now.cpu == pytest.approx(0.25)
    assert seen.now.p95 == pytest.approx(0.46)
    assert seen.now.memory == 1e8


async def test_a_restart_is_told_and_counts_afresh(clock: Callable[[float], None]) -> None:
    service = Service()
    watch = watcher(service)
    service.metrics = page(1000, 0, 50.0)
    await watch.look()
    clock(2)
    service.metrics = page(5, 0, 0.1, started=4999.0)
    await watch.look()
    assert watch.services["event"].now.rate == 0
    assert [(c.word, c.of) for c in watch.changes] == [("restarted", "event")]


async def test_a_dead_service_is_gone_and_back_again(clock: Callable[[float], None]) -> None:
    service = Service()
    watch = watcher(service)
    await watch.look()
    service.dead = True
    clock(2)
    await watch.look()
    seen = watch.services["event"]
    assert seen.status == "gone"
    assert (seen.now.rate, seen.now.memory) == (0, 0)
    service.dead = False
    service.health = {"status": "pass", "checks": {"mongo": [{"status": "pass"}]}}
    clock(2)
    await watch.look()
    assert [c.word for c in watch.changes] == ["became_gone", "became_pass"]


async def test_of_one_that_hangs_the_second_late_answer_counts() -> None:
    service = Service()
    watch = watcher(service)
    await watch.look()
    points = len(watch.services["event"].series)
    service.hangs = True
    await watch.look()
    assert watch.services["event"].status == "warn"  # as it was
    assert len(watch.services["event"].series) == points
    await watch.look()
    assert watch.services["event"].status == "gone"
    service.hangs = False
    await watch.look()
    assert watch.services["event"].status == "warn"


async def test_a_lost_dependency_is_a_change() -> None:
    service = Service()
    service.health = {"status": "pass", "checks": {"redis": [{"status": "pass"}]}}
    watch = watcher(service)
    await watch.look()
    service.health = {"status": "warn", "checks": {"redis": [{"status": "warn"}]}}
    await watch.look()
    assert ("dependency_lost", "event → redis", True) in [
        (c.word, c.of, c.bad) for c in watch.changes
    ]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (None, "gone"),
        (httpx.Response(200, json={"status": "pass"}), "pass"),
        (httpx.Response(503, json={"status": "fail", "checks": {}}), "fail"),
        (httpx.Response(200, text="OK"), "pass"),
        (httpx.Response(500, text="<html>"), "fail"),
        (httpx.Response(200, json=[1]), "pass"),
        (httpx.Response(503, json={"status": "odd", "checks": {"a": []}}), "fail"),
    ],
)
def test_any_health_reply_is_understood(reply: httpx.Response | None, status: str) -> None:
    assert read_health(reply)[0] == status


async def test_a_page_that_is_none_does_no_harm() -> None:
    service = Service()
    service.metrics = "<html>{{{"
    watch = watcher(service)
    await watch.look()
    assert watch.services["event"].status == "warn"


def test_quantiles_are_as_prometheus_computes_them() -> None:
    inf = float("inf")
    assert quantile({0.1: 50, 0.5: 100, inf: 100}, 0.5) == pytest.approx(0.1)
    assert quantile({0.1: 50, 0.5: 100, inf: 100}, 0.75) == pytest.approx(0.3)
    assert quantile({0.1: 0, 0.5: 10, inf: 100}, 0.95) == 0.5
    assert quantile({}, 0.95) == 0
    assert quantile({0.1: 0, inf: 0}, 0.95) == 0


def test_samples_are_summed_by_label() -> None:
    samples = [Sample("n", {"a": "1", "b": x}, v) for x, v in (("x", 2.0), ("y", 3.0))]
    metrics = Metrics(samples)
    assert metrics.value("n", a="1") == 5
    assert metrics.value("n", b="y") == 3
    assert metrics.value("unknown") == 0
    assert metrics.by("n", "b") == {"x": 2.0, "y": 3.0}


def test_both_languages_have_every_text_with_the_same_places() -> None:
    for key, texts in WORDS.items():
        assert len(texts) == 2, key
        assert all(texts), key
        places = [sorted(re.findall(r"\{\w+\}", text)) for text in texts]
        assert places[0] == places[1], key


def test_numbers_are_readable() -> None:
    assert [span(s) for s in (0.00012, 0.0042, 0.042, 1.234, 42, 180, 7500, 270_000)] == [
        "120 µs",
        "4.2 ms",
        "42 ms",
        "1.23 s",
        "42 s",
        "3 min",
        "2 h 5 min",
        "3 d 3 h",
    ]
    assert [percent(p) for p in (0, 0.004, 0.12, 1)] == ["0%", "0.4%", "12%", "100%"]


def test_a_word_from_a_log_line_is_escaped() -> None:
    doc = {"status": "<b>", "reward_id": "<i>", "reason": "<u>"}
    line = Line(0.0, "event", "info", "general", "reward.claimed", "x", "", "")
    shown = piece("en", "feed", line=line, doc=doc, titles=Titles())
    assert "&lt;b&gt;" in shown
    for tag in doc.values():
        assert tag not in shown


class Api:
    """The gateway's side of `Titles`."""

    def __init__(self) -> None:
        self.sign_ins = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        if path == "/auth/login":
            self.sign_ins += 1
            return httpx.Response(200, json={"access_token": f"t{self.sign_ins}"})
        if request.headers["authorization"] != f"Bearer t{self.sign_ins}":
            return httpx.Response(401)
        if path == "/events":
            return httpx.Response(200, json={"items": [{"id": "e1", "title": "Autumn"}]})
        items = [{"id": "r1", "name": "Points", "stock": 7}]
        return httpx.Response(200, json={"items": items})


async def test_names_are_read_with_the_demo_account(tmp_path: Path) -> None:
    demo = tmp_path / "seed.json"
    demo.write_text('{"accounts": {"AUDITOR": {"email": "a@example.com", "password": "p"}}}')
    api, titles, settings = Api(), Titles(), ConsoleSettings(seed_file=demo)
    async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as http:
        for _ in range(2):
            await titles.read(http, settings)
        assert api.sign_ins == 1
        api.sign_ins = 5  # the token is not known there any more
        with pytest.raises(httpx.HTTPStatusError):
            await titles.read(http, settings)
    assert titles.name("e1") == "Autumn"
    assert titles.reward("r1") == ("Points", 7)
    assert titles.reward("r9") == ("r9", 0)


def test_names_are_bounded() -> None:
    titles = Titles()
    for number in range(3_000):
        titles.learn(str(number), "name")
    assert titles.name("0") == "0"
    assert titles.name("2999") == "name"


def test_lines_have_names_and_no_reason_where_there_is_none() -> None:
    shown = view()
    page = (
        'event_info{event_id="e9",title="Spring"} 1\nreward_info{reward_id="r2",event_id="e9",'
        'title="Silver badge"} 1\n'
    )
    shown.watcher.services["event"].page = Metrics(parse_metrics(page))
    ids = {"request_id": "a-request-of-mine", "event_id": "e9", "reward_id": "r2"}
    fields = {"event": "reward.claimed", "level": "info", "status": "approved", **ids}
    for reason in ("none", "operator"):
        text = json.dumps({**fields, "reason": reason})
        shown.store.add_line(Line.parse(text, "event", time.time()))
    one, two = (markup for _, markup in shown.follow("en", ids["request_id"], {})["lines"])
    summary = one.partition("</summary>")[0]
    assert "event=Spring" in summary
    assert "reward=Silver badge" in summary
    assert "e9" not in summary
    assert "reason" not in summary
    assert "reason=operator" in two
    assert shown.titles.reward("r2")[1] == 25, "its stock stays as the API told it"
