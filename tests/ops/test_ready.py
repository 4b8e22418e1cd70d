"""`ready`: what it says and when, with a fake engine behind its API client."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops import ready
from ops.docker_api import DockerApi, bad_news, read_container
from tests.ops.compose_file import COMPOSE
from tests.ops.engine import Engine, container
from tests.stack.programs import ROOT
from tests.support.waiting import until

AT = "2999-01-01T00:00:0{}.000000000Z"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "docker.sock")
    yield engine
    engine.close()


def published(about: dict[str, Any], port: int, at: int) -> dict[str, Any]:
    """The container, with its port on the host."""
    listens = [{"HostIp": "127.0.0.1", "HostPort": str(at)}]
    about["NetworkSettings"]["Ports"] = {f"{port}/tcp": listens}
    return about


def api(tmp_path: Path) -> DockerApi:
    return DockerApi(f"unix:{tmp_path / 'docker.sock'}", "event-rewards")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"level":"info","event":"http.request"}', None),
        ('{"level":"warning","log_type":"security","event":"sign_in.failed"}', None),
        ('{"level":"error","event":"job.failed","job":"gauges","exception_message":"no"}',
         ("error", "job.failed, gauges, no")),
        ('{"level":"warn","ts":1,"msg":"queue full","error":"x"}', ("warning", "queue full, x")),
        ('{"t":{},"s":"I","c":"NETWORK","msg":"Connection accepted"}', None),
        ('{"t":{},"s":"F","c":"CONTROL","msg":"Wrong mongod version"}',
         ("critical", "Wrong mongod version")),
        ('logger=migrator t=2026-11-26 level=error msg="no such table" err=x',
         ("error", "no such table")),
        ('ts=2026-11-26T10:00:00Z level=warn msg="Not taken"', ("warning", "Not taken")),
        ("level=info msg=started", None),
        ("1:M 26 Nov 2026 10:00:00.000 # Out Of Memory", ("warning", "Out Of Memory")),
        ("1:M 26 Nov 2026 10:00:00.000 * Ready to accept connections", None),
        ("{not json", None),
        ("an error of somebody's, in prose", None),
        ("Traceback (most recent call last):", ("error", "Traceback (most recent call last):")),
        ("", None),
    ],
)  # fmt: skip
def test_lines_that_warn(line: str, said: tuple[str, str] | None) -> None:
    assert bad_news(line) == said


def test_a_kind_of_line_is_told_once_and_never_many_at_once() -> None:
    news = ready.News()
    line = '{{"level":"error","event":"claim {} of 0123456789abcdef failed"}}'
    assert news.of_service("event", [line.format(n) for n in range(9)]) == [
        "event: error: claim 0 of 0123456789abcdef failed"
    ]
    assert news.of_service("event", [line.format(10)]) == []
    assert len(news.of_service("auth", [line.format(10)])) == 1
    many = [f'{{"level":"error","event":"{chr(97 + n) * 7}"}}' for n in range(20)]
    told = news.of_service("event", many)
    assert len(told) == ready.SHOWN + 1
    assert told[-1] == "event: 15 more: docker compose logs event"


def test_containers_that_are_well() -> None:
    def well(**state: object) -> bool:
        return read_container(container(1, "mongo", **state)).well

    assert well()
    assert well(Health={"Status": "healthy"})
    assert not well(Health={"Status": "starting"})
    assert not well(Status="created")
    assert not well(Status="exited")  # it ought to run
    once = container(1, "setup", Status="exited")
    once["HostConfig"]["RestartPolicy"]["Name"] = "no"
    assert read_container(once).well
    once["State"]["ExitCode"] = 1
    assert not read_container(once).well
    assert read_container(once).trouble == "ended with code 1"


def test_lines_are_read_once(engine: Engine, tmp_path: Path) -> None:
    engine.containers = [container(1, "event")]
    (one,) = api(tmp_path).containers()
    engine.logs[one.id] = [(AT.format(n), f"line {n} é") for n in range(3)]
    lines = api(tmp_path).lines(one, AT.format(0))
    assert [text for _, text in lines] == ["line 1 é", "line 2 é"]
    assert api(tmp_path).lines(one, lines[-1][0]) == []


def test_the_whole_of_a_start(engine: Engine, tmp_path: Path) -> None:
    """Its process: what is not well yet, what goes wrong, the message, the end."""
    setup, gateway = container(1, "setup", Status="exited"), container(2, "gateway")
    setup["HostConfig"]["RestartPolicy"]["Name"] = "no"
    gateway["State"]["Health"] = {"Status": "starting"}
    published(gateway, 8000, 18000)
    engine.containers = [setup, gateway, container(9, "loki-restore", Status="exited")]
    mark, out = tmp_path / "mark", tmp_path / "out"
    code = (
        "import pathlib, sys; from ops import ready; ready.POLL_S = 0.1;"
        f"ready.MARK = pathlib.Path({str(mark)!r}); ready.main(sys.argv[1:])"
    )
    socket = f"unix:{tmp_path / 'docker.sock'}"
    environment = {**os.environ, "PROJECT": ready.NAME, "DOCKER_API": socket}
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "setup", "gateway"],
            cwd=ROOT, env=environment, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        until(lambda: len(engine.asked) > 10, what="polls")
        assert "Everything runs" not in out.read_text()
        gateway["State"]["Health"] = {"Status": "unhealthy"}
        until(lambda: "gateway does not pass its health check: docker" in out.read_text())
        gateway["State"]["Health"] = {"Status": "healthy"}
        until(lambda: "Everything runs" in out.read_text())
        until(lambda: "http://127.0.0.1:18000/docs" in out.read_text())
        assert mark.read_text().strip() in out.read_text()
        said = out.read_text()
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime(time.time() + 60))
        engine.logs[gateway["Id"]] = [
            (at, '{"level":"info","event":"http.request"}'),
            (at.replace(".0", ".1"), '{"level":"error","event":"http.failed"}'),
        ]
        until(lambda: out.read_text() != said)
        until(lambda: out.read_text() == f"{said}gateway: error: http.failed\n")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_the_message_names_no_password_and_only_what_is_there() -> None:
    grafana = published(container(1, "grafana"), 3000, 13000)
    text = ready.message([read_container(grafana)], 48.4)
    assert "Everything runs, after 48 s." in text
    assert "http://127.0.0.1:13000" in text
    assert "docker compose exec grafana cat /secrets/grafana/admin_password" in text
    assert "at most 64 MB" in text
    assert "Console" not in text
    assert "Gateway" not in text


def test_every_command_names_a_project_of_ones_own() -> None:
    """`docker compose -p mine up` is on no list that a plain `docker compose exec` looks at."""
    assert ready.command(ready.NAME) == "docker compose"
    assert COMPOSE["name"] == ready.NAME
    compose = ready.command("mine")
    services = [container(n, name) for n, (name, *_) in enumerate([*ready.ADDRESSES, ("seeder",)])]
    for about, (_, port, *_) in zip(services, ready.ADDRESSES, strict=False):
        published(about, port, port)
    text = ready.message([read_container(about) for about in services], 48.4, compose)
    many = [f'{{"level":"error","event":"{chr(97 + n) * 7}"}}' for n in range(20)]
    text += ready.News(compose).of_service("event", many)[-1]
    assert text.count("docker compose") == text.count("docker compose -p mine ") == 8
    assert "{}" not in text
