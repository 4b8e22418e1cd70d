"""What the console makes of metric pages and health replies."""

import json
import time
from typing import Any

import httpx
import pytest

from console.render import percent, piece, span
from console.scrape import Watcher, quantile, read_health
from console.settings import ConsoleSettings
from console.store import Line
from console.titles import Titles
from plainview.decode import Metrics, Sample, parse_metrics
from tests.support.console_data import view

HEALTH = {
    "status": "warn",
    "checks": {"mongo": [{"status": "pass"}], "redis": [{"status": "warn"}]},
}


def page(requests: int, errors: int, cpu: float, started: float = 1000.0) -> str:
    total = requests + errors
    counted = 'http_requests_total{method="GET",path="/x",app_name="a",status_code='
    bucket = 'http_request_duration_seconds_bucket{path="/x",le='
    return f"""
{counted}"200"}} {requests}
{counted}"500"}} {errors}
{bucket}"0.1"}} {total / 2}
{bucket}"0.5"}} {total}
{bucket}"+Inf"}} {total}
process_cpu_seconds_total {cpu}
process_resident_memory_bytes 1e+08
process_start_time_seconds {started}
container_cpu_limit_cores 2
service_info{{version="0.1.0",environment="test"}} 1
"""


class Service:
    """A service that answers as it is told, and the watcher that looks at it."""

    def __init__(self) -> None:
        self.metrics, self.health = page(0, 0, 0.0), HEALTH
        self.error: Exception | None = None
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._reply))
        self.watcher = Watcher(http, {"event": "http://event"})

    def _reply(self, request: httpx.Request) -> httpx.Response:
        if self.error:
            raise self.error
        if request.url.path == "/metrics":
            return httpx.Response(200, text=self.metrics)
        return httpx.Response(200, json=self.health)

    async def looked_at(self, **changes: Any) -> Any:
        """What the watcher shows after a look at the service, changed in this way."""
        vars(self).update(changes)
        await self.watcher.look()
        return self.watcher.services["event"]


@pytest.fixture
def service():
    return Service()


async def test_rates_errors_percentile_and_cpu_are_of_the_difference(service, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    await service.looked_at(metrics=page(1000, 10, 50.0))
    monkeypatch.setattr(time, "time", lambda: 5002.0)
    seen = await service.looked_at(metrics=page(1018, 12, 50.5))
    assert (seen.status, seen.version, seen.started) == ("warn", "0.1.0", 1000.0)
    assert seen.checks == {"mongo": "pass", "redis": "warn"}
    now = seen.now
    found = (now.rate, now.errors, now.cpu, now.p95, now.memory)
    assert found == pytest.approx((10, 0.1, 0.25, 0.46, 1e8))


async def test_a_restart_is_told_and_counts_afresh(service):
    await service.looked_at(metrics=page(1000, 0, 50.0))
    seen = await service.looked_at(metrics=page(5, 0, 0.1, started=4999.0))
    assert seen.now.rate == 0
    assert [(c.word, c.of) for c in service.watcher.changes] == [("restarted", "event")]


async def test_a_dead_service_is_gone_and_back_again(service):
    await service.looked_at()
    seen = await service.looked_at(error=httpx.ConnectError("refused"))
    assert (seen.status, seen.now.rate, seen.now.memory) == ("gone", 0, 0)
    well = {"status": "pass", "checks": {"mongo": [{"status": "pass"}]}}
    await service.looked_at(error=None, health=well)
    assert [c.word for c in service.watcher.changes] == ["became_gone", "became_pass"]


async def test_of_one_that_hangs_the_second_late_answer_counts(service):
    points = len((await service.looked_at()).series)
    late = await service.looked_at(error=httpx.ReadTimeout("no answer"))
    assert (late.status, len(late.series)) == ("warn", points)  # as it was
    assert (await service.looked_at()).status == "gone"
    assert (await service.looked_at(error=None)).status == "warn"


async def test_a_lost_dependency_is_a_change(service):
    for status in ("pass", "warn"):
        health = {"status": status, "checks": {"redis": [{"status": status}]}}
        await service.looked_at(health=health)
    changes = [(c.word, c.of, c.bad) for c in service.watcher.changes]
    assert ("dependency_lost", "event → redis", True) in changes


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
def test_any_health_reply_is_understood(reply, status):
    assert read_health(reply)[0] == status


async def test_a_page_that_is_none_does_no_harm(service):
    assert (await service.looked_at(metrics="<html>{{{")).status == "warn"


def test_quantiles_are_as_prometheus_computes_them():
    inf = float("inf")
    assert quantile({0.1: 50, 0.5: 100, inf: 100}, 0.5) == pytest.approx(0.1)
    assert quantile({0.1: 50, 0.5: 100, inf: 100}, 0.75) == pytest.approx(0.3)
    assert quantile({0.1: 0, 0.5: 10, inf: 100}, 0.95) == 0.5
    assert quantile({}, 0.95) == 0
    assert quantile({0.1: 0, inf: 0}, 0.95) == 0


def test_samples_are_summed_by_label():
    samples = [Sample("n", {"a": "1", "b": x}, v) for x, v in (("x", 2.0), ("y", 3.0))]
    metrics = Metrics(samples)
    assert metrics.value("n", a="1") == 5
    assert metrics.value("n", b="y") == 3
    assert metrics.value("unknown") == 0
    assert metrics.by("n", "b") == {"x": 2.0, "y": 3.0}


def test_numbers_are_readable():
    seconds = (0.00012, 0.0042, 0.042, 1.234, 42, 180, 7500, 270_000)
    texts = ["120 µs", "4.2 ms", "42 ms", "1.23 s", "42 s", "3 min", "2 h 5 min", "3 d 3 h"]
    assert [span(s) for s in seconds] == texts
    assert [percent(p) for p in (0, 0.004, 0.12, 1)] == ["0%", "0.4%", "12%", "100%"]


def test_a_word_from_a_log_line_is_escaped():
    doc = {"status": "<b>", "reward_id": "<i>", "reason": "<u>"}
    line = Line(0.0, "event", "info", "general", "reward.claimed", "x", "", "")
    shown = piece("en", "feed", line=line, doc=doc, titles=Titles())
    assert "&lt;b&gt;" in shown
    for tag in doc.values():
        assert tag not in shown


async def test_names_are_read_with_the_demo_account(tmp_path):
    sign_ins = 0

    def api(request: httpx.Request) -> httpx.Response:
        nonlocal sign_ins
        path = request.url.path.removeprefix("/api/v1")
        if path == "/auth/login":
            sign_ins += 1
            return httpx.Response(200, json={"access_token": f"t{sign_ins}"})
        if request.headers["authorization"] != f"Bearer t{sign_ins}":
            return httpx.Response(401)
        event, reward = {"id": "e1", "title": "Autumn"}, {"id": "r1", "name": "Points", "stock": 7}
        return httpx.Response(200, json={"items": [event if path == "/events" else reward]})

    demo = tmp_path / "seed.json"
    demo.write_text('{"accounts": {"AUDITOR": {"email": "a@example.com", "password": "p"}}}')
    titles, settings = Titles(), ConsoleSettings(seed_file=demo)
    async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as http:
        for _ in range(2):
            await titles.read(http, settings)
        assert sign_ins == 1
        sign_ins = 5  # the token is not known there any more
        with pytest.raises(httpx.HTTPStatusError):
            await titles.read(http, settings)
    assert titles.name("e1") == "Autumn"
    assert titles.reward("r1") == ("Points", 7)
    assert titles.reward("r9") == ("r9", 0)


def test_names_are_bounded():
    titles = Titles()
    for number in range(3_000):
        titles.learn(str(number), "name")
    assert titles.name("0") == "0"
    assert titles.name("2999") == "name"


def test_lines_have_names_and_no_reason_where_there_is_none():
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
    assert [text in summary for text in ("event=Spring", "reward=Silver badge")] == [True, True]
    assert [text in summary for text in ("e9", "reason")] == [False, False]
    assert "reason=operator" in two
    assert shown.titles.reward("r2")[1] == 25, "its stock stays as the API told it"
