"""Several worker processes of one server count together, or a line says that they do not."""

import http.client
import os
import signal
from pathlib import Path

import pytest

from plainview.decode import Sample, parse_metrics
from tests.support.served import Served, serving
from tests.support.waiting import until

TWO = {
    "uvicorn": ("--workers", "2"),
    "gunicorn and uvicorn": ("-w", "2"),
    "hypercorn": ("-w", "2"),
    "granian": ("--workers", "2"),
}
TOGETHER, APART = "telemetry.workers_counted_together", "several workers share a port"


def get(served: Served, path: str) -> str:
    """The reply on a connection of its own, which any worker may take."""
    client = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=20)
    try:
        client.request("GET", path)
        reply = client.getresponse()
        assert reply.status == 200
        return reply.read().decode()
    finally:
        client.close()


def started(served: Served, workers: int) -> None:
    until(lambda: served.text.count('"app.started"') == workers, what=f"worker {workers}")


def work(served: Served, count: int) -> set[int]:
    """IDs of the workers that answered."""
    return {int(get(served, "/work")) for _ in range(count)}


def value(page: list[Sample], name: str, **labels: str) -> float:
    return sum(s.value for s in page if s.name == name and labels.items() <= s.labels.items())


@pytest.mark.parametrize(
    ("server", "more"),
    [("uvicorn", ()), ("gunicorn and uvicorn", ()), ("gunicorn and uvicorn", ("--preload",))],
)
def test_a_thousand_requests_are_a_thousand_in_every_scrape(
    server: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "shared"), "PLAINVIEW_ACCESS_LOG": "0"}
    with serving(server, tmp_path, *TWO[server], *more, **variables) as served:
        started(served, 2)
        first = work(served, 600)
        pages = [parse_metrics(get(served, "/metrics")) for _ in range(6)]
        killed = first.pop()
        os.kill(killed, signal.SIGKILL)
        started(served, 3)
        second = work(served, 400)
        later = [parse_metrics(get(served, "/metrics")) for _ in range(6)]
    assert len(second - first - {killed}) == 1
    for wanted, scrapes in ((600, pages), (1000, later)):
        for page in scrapes:
            about = {"path": "/work", "status_code": "200"}
            assert value(page, "http_requests_total", **about) == wanted
            assert value(page, "http_request_duration_seconds_count", **about) == wanted
            assert value(page, "work_done_total", kind="small") == wanted
            assert value(page, "work_size_bucket", le="10.0") == wanted
            assert value(page, "workers") == 2
            assert value(page, "newest") == 1
            assert value(page, "service_ready") == 1
            assert value(page, "telemetry_workers_apart") == 0
            assert value(page, "http_requests_in_progress") == 0
    told = [line for line in served.lines if line["event"] == TOGETHER]
    assert len(told) <= 2, served.text  # a worker in the place of a killed first one says it too
    assert "exemplars" in told[0]["lost"]
    assert APART not in served.text


@pytest.mark.parametrize("server", TWO)
def test_a_second_worker_that_counts_apart_is_told_once(server: str, tmp_path: Path) -> None:
    with serving(server, tmp_path, *TWO[server]) as served:
        started(served, 2)
        until(lambda: APART in served.text)
        pages = [parse_metrics(get(served, "/metrics")) for _ in range(6)]
    assert [value(page, "telemetry_workers_apart") for page in pages] == [1] * 6
    assert served.text.count(APART) == 1
    assert TOGETHER not in served.text


def test_one_worker_is_not_apart(tmp_path: Path) -> None:
    with serving("uvicorn", tmp_path) as served:
        page = parse_metrics(get(served, "/metrics"))
    assert [s.value for s in page if s.name == "telemetry_workers_apart"] == [0]
