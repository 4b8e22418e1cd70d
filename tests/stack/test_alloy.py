"""Alloy with compose's file: a Docker engine with set lines, docker-proxy, Alloy, Loki.

The engine is tests/ops/engine.py, all others are the programs. Each test has a service of its own.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ops.compose_file import SERVICES
from tests.ops.engine import Proxy, container
from tests.ops.levels import LINES
from tests.stack.loki import Loki, prepared
from tests.stack.programs import ROOT, Program
from tests.support.servers import free_port
from tests.support.waiting import until

DAY_S = 86_400
WAIT_S = 90  # discovery looks every 5 s, lines are sent every second
LABELS = {"service", "environment", "component", "level", "log_type"}
OURS = {
    "component": "event", "level": "warning", "log_type": "security", "request_id": "req-1",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "user_id": "u-1",
}  # fmt: skip


def stamp(at_s: float) -> str:
    """A time as Docker and our lines have it."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def metric(url: str, name: str) -> dict[str, float]:
    """Values of a counter by its label `reason`."""
    text = httpx.get(f"{url}/metrics", timeout=10).raise_for_status().text
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


class Pipeline:
    """The programs, started; lines go in by `write` and are seen by `stored`."""

    def __init__(self, directory: Path, loki: Path, alloy: Path, proxy: Proxy) -> None:
        self.engine = proxy.engine
        self.loki, url = prepared(directory, loki)
        self.ask = Loki(url)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        text = (ROOT / "telemetry/alloy.alloy").read_text()
        for there, here in {
            "tcp://docker-proxy:2375": f"tcp://127.0.0.1:{proxy.port}",
            "http://loki:3100": url,
        }.items():
            assert there in text
            text = text.replace(there, here)
        (directory / "alloy.alloy").write_text(text)
        flags = SERVICES["alloy"]["command"][:-1]
        places = {"0.0.0.0:12345": f"127.0.0.1:{port}", "/var/lib/alloy/data": str(directory / "a")}
        for there, here in places.items():
            flags = [flag.replace(there, here) for flag in flags]
        self.alloy = Program(
            "alloy", [str(alloy), *flags, str(directory / "alloy.alloy")], f"{self.url}/-/ready",
            directory, {"ENVIRONMENT": "local", "PROJECT": "mine"},
        )  # fmt: skip

    def write(self, service: str, *lines: tuple[float, str]) -> str:
        """More lines of a service's container, each with its time; its ID."""
        known = [each for each in self.engine.containers if each["Names"] == [f"/{service}-1"]]
        about = known[0] if known else container(len(self.engine.logs) + 1, service)
        logs = self.engine.logs.setdefault(about["Id"], [])
        logs += [(stamp(at_s), text) for at_s, text in lines]
        if not known:
            self.engine.containers.append(about)
        id_: str = about["Id"]
        return id_

    def stored(self, service: str) -> list[tuple[float, str, dict[str, str]]]:
        """Time, text and labels of this service's lines in Loki, the oldest first."""
        now = time.time()
        data = self.ask.get(
            "query_range", query=f'{{service="{service}"}}', limit=5000,
            start=int((now - 6 * DAY_S) * 1e9), end=int((now + 60) * 1e9),
        )  # fmt: skip
        return sorted(
            (int(at) / 1e9, text, stream["stream"])
            for stream in data["result"]
            for at, text, *_ in stream["values"]
        )

    def arrive(self, service: str, count: int) -> list[tuple[float, str, dict[str, str]]]:
        what = f"{count} lines of {service}"
        until(lambda: len(self.stored(service)) >= count, WAIT_S, what, every_s=0.5)
        return self.stored(service)


@pytest.fixture(scope="module")
def pipeline(
    tmp_path_factory: pytest.TempPathFactory, loki_binary: Path, alloy_binary: Path
) -> Iterator[Pipeline]:
    directory = tmp_path_factory.mktemp("alloy")
    with Proxy(directory) as proxy:
        pipeline = Pipeline(directory, loki_binary, alloy_binary, proxy)
        try:
            pipeline.loki.start()
            pipeline.alloy.start()
            yield pipeline
        finally:
            pipeline.alloy.stop()
            pipeline.loki.stop()


def test_every_program_s_levels_are_ours(pipeline: Pipeline) -> None:
    now = time.time() - 60
    lines = {text: level or "info" for text, level in LINES.items() if text}
    pipeline.write("programs", *((now + n / 100, text) for n, text in enumerate(lines)))
    found = pipeline.arrive("programs", len(lines))
    assert {text: labels["level"] for _, text, labels in found} == lines
    assert {labels["component"] for *_, labels in found} == {"system"}
    assert {labels["log_type"] for *_, labels in found} == {"general"}
    listed = {path for _, path in pipeline.engine.asked if "/containers/json" in path}
    assert all("com.docker.compose.project%3Dmine" in path for path in listed), listed


def test_a_line_of_ours_has_five_labels_and_the_rest_beside(pipeline: Pipeline) -> None:
    at = time.time() - 30
    line = json.dumps({**OURS, "timestamp": stamp(at - 2)[:-4] + "Z", "event": "x"})
    pipeline.write("ours", (at, line))
    ((found_at, text, labels),) = pipeline.arrive("ours", 1)
    assert (text, labels) == (line, {**OURS, "service": "ours", "environment": "local"})
    assert found_at == pytest.approx(at - 2, abs=1e-3)  # when it was written, not when it was read
    now = time.time_ns()
    (series,) = pipeline.ask.get(
        "series", **{"match[]": '{service="ours"}', "start": now - 3600 * 10**9, "end": now}
    )
    assert set(series) == LABELS


def test_a_line_without_a_time_keeps_the_one_docker_gave_it(pipeline: Pipeline) -> None:
    """Between lines of ours a traceback, for instance; another time would be a repeat later."""
    at = time.time() - 40
    ours = [{"timestamp": stamp(at + n), "level": "info", "component": "system"} for n in (0, 20)]
    pipeline.write(
        "mixed", (at, json.dumps(ours[0])), (at + 10, "Traceback"), (at + 20, json.dumps(ours[1]))
    )
    found = pipeline.arrive("mixed", 3)
    assert [found_at - at for found_at, *_ in found] == pytest.approx([0, 10, 20], abs=1e-3)
    assert found[1][1] == "Traceback"


def test_what_is_too_old_for_loki_is_not_sent(pipeline: Pipeline) -> None:
    now = time.time() - 10
    old = json.dumps({"timestamp": stamp(now - 8 * DAY_S), "event": "old"})
    pipeline.write("old", (now - 8 * DAY_S, "plain"), (now, old), (now, "new"))
    assert [text for _, text, _ in pipeline.arrive("old", 1)] == ["new"]
    dropped = metric(pipeline.url, "loki_process_dropped_lines_total")
    assert dropped == {"too_old": 2}
    discarded = metric(pipeline.ask.url, "loki_discarded_samples_total")
    assert "greater_than_max_sample_age" not in discarded


def refused(pipeline: Pipeline) -> dict[str, float]:
    """Lines that Loki refused, by the reasons that raise LogIngestion."""
    rules = (ROOT / "prometheus/rules/alerts.yml").read_text()
    (left_out,) = re.findall(r'loki_discarded_samples_total\{reason!~"([^"]+)"\}', rules)
    all_ = metric(pipeline.ask.url, "loki_discarded_samples_total")
    return {why: n for why, n in all_.items() if n and not re.fullmatch(left_out, why)}


def follows(pipeline: Pipeline, id_: str) -> list[int]:
    """From which second on this container's log was asked for, each time."""
    asked = (path for _, path in pipeline.engine.asked if f"/{id_}/logs" in path)
    return [int(since) for path in asked for since in re.findall(r"[?&]since=(\d+)", path)]


def test_nothing_is_there_twice_after_restarts(pipeline: Pipeline) -> None:
    """Of Alloy, of a container, of Loki; half of the lines are not ours, some are two hours old."""
    began = time.time()

    def write(at_s: float, count: int) -> None:
        lines = [(at_s + n / 1000, json.dumps({"timestamp": stamp(at_s + n / 1000), "n": n}))
                 for n in range(count)]  # fmt: skip
        plain = [(at_s + n / 1000 + 0.5, f"level=info n={n}") for n in range(count)]
        pipeline.write("restarted", *lines, *plain)

    def texts(count: int) -> list[tuple[float, str]]:
        return [(at, text) for at, text, _ in pipeline.arrive("restarted", count)]

    write(began - 7200, 10)
    write(began - 20, 20)
    id_ = pipeline.write("restarted")
    first = texts(60)
    assert follows(pipeline, id_) == [0]
    positions = pipeline.alloy.directory / "a"
    until(lambda: any(id_ in p.read_text() for p in positions.rglob("positions.yml")), 30)

    pipeline.alloy.stop()
    write(began - 1, 10)  # while nobody reads
    pipeline.alloy.start()
    second = texts(80)
    assert second[: len(first)] == first
    assert len(second) == 80
    assert follows(pipeline, id_)[1] >= int(began - 21)  # went on where it was

    # A container that is started anew is read from its beginning: Alloy forgets one that is gone.
    (about,) = (each for each in pipeline.engine.containers if each["Id"] == id_)
    pipeline.engine.containers.remove(about)
    lists = len([path for _, path in pipeline.engine.asked if "/containers/json" in path])
    until(
        lambda: len([p for _, p in pipeline.engine.asked if "/containers/json" in p]) > lists + 1,
        WAIT_S, "two looks at the list",
    )  # fmt: skip
    pipeline.engine.containers.append(about)
    until(lambda: follows(pipeline, id_)[-1] == 0, WAIT_S, "a log from its beginning")
    write(began + 1, 5)
    third = texts(90)
    assert third[: len(second)] == second
    assert len(third) == 90

    pipeline.loki.stop()
    write(began + 2, 5)  # while nobody takes them
    pipeline.loki.start()
    fourth = texts(100)
    assert fourth[: len(third)] == third
    assert len(fourth) == 100
    assert refused(pipeline) == {}  # LogIngestion stays silent
    counted = pipeline.ask.get("query", query='sum(count_over_time({service="restarted"}[1h]))')
    assert counted["result"][0]["value"][1] == "80"  # without the 20 of two hours ago


def test_the_health_check_knows_ready(pipeline: Pipeline) -> None:
    shell, *arguments, script = SERVICES["alloy"]["healthcheck"]["test"][1:]

    def well(url: str) -> bool:
        text = script.replace("127.0.0.1/12345", url.removeprefix("http://").replace(":", "/"))
        command = ["timeout", "5", shell, *arguments, text]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert well(pipeline.url)
    assert not well(f"http://127.0.0.1:{free_port()}")  # nobody listens
    assert not well(pipeline.ask.url)  # Loki has no such page


def test_as_the_program_reads_and_writes_it(alloy_binary: Path) -> None:
    names = subprocess.run(
        ["git", "ls-files", "*.alloy"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = names.stdout.split()
    assert "telemetry/alloy.alloy" in files
    for name in files:
        # what generate/ holds is a part of a file in deploy/kubernetes/, which is read whole
        whole = [] if name.startswith("generate/") else [["validate"]]
        for check in (["fmt", "--test"], *whole):
            done = subprocess.run(
                [str(alloy_binary), *check, name],
                cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
