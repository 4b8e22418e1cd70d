"""docker-proxy: Debian's HAProxy with the committed file before a socket that answers all."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.engine import Engine
from tests.stack.programs import ROOT
from tests.support.servers import free_port, listens
from tests.support.waiting import until

ID = "0123456789ab" * 5 + "0123"


def program() -> str:
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not found:
        assert not os.environ.get("CI"), "apt-get install haproxy"
        pytest.skip("haproxy is not installed")
    return found


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Engine, Path]]:
    directory = tmp_path_factory.mktemp("proxy")
    engine = Engine(directory / "docker.sock")
    port = free_port()
    text = (ROOT / "telemetry/docker-proxy.cfg").read_text()
    text = text.replace("/var/run/docker.sock", str(directory / "docker.sock"))
    text = text.replace("0.0.0.0:2375", f"127.0.0.1:{port}")
    (directory / "haproxy.cfg").write_text(text)
    log = directory / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [program(), "-db", "-f", str(directory / "haproxy.cfg")], stdout=out, stderr=out
        )
    try:
        until(lambda: listens(port), what="haproxy")
        yield port, engine, log
    finally:
        server.terminate()
        server.wait(10)
        engine.close()


def ask(port: int, method: str, target: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, target, skip_accept_encoding=True)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("version", ["", "/v1.41", "/v1.55"])
@pytest.mark.parametrize(
    "target",
    [
        "/_ping",
        "/version",
        "/networks",
        "/containers/json?all=1&filters=%7B%7D",
        f"/containers/{ID}/json",
        f"/containers/{ID}/logs?follow=1&stdout=1",
    ],
)
def test_what_alloy_and_ready_read(
    proxy: tuple[int, Engine, Path], version: str, target: str
) -> None:
    port, engine, _ = proxy
    engine.containers = [{"Id": ID}]
    assert ask(port, "GET", f"{version}{target.replace('logs?', 'logs?since=0&')}") == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/containers/json"),
        ("POST", f"/containers/{ID}/json"),
        ("PUT", "/_ping"),
        ("DELETE", f"/containers/{ID}/logs"),
        ("POST", "/containers/create"),
        *(
            ("GET", target)
            for target in (
                "/",
                "/info",
                "/images/json",
                "/secrets",
                "/events",
                "/system/df",
                "/volumes",
                "/networks/0123456789ab",
                f"/containers/{ID}/archive?path=/secrets",
                f"/containers/{ID}/export",
                f"/containers/{ID}/attach/ws",
                f"/containers/{ID}/top",
                f"/containers/{ID}/logs/../export",
                f"/containers/{ID}%2Fexport",
                "/containers/json/../../images/json",
                "//containers/json/x",
                "/v1.41/v1.41/images/json",
                "/containers/mongo/json",
                f"/containers/{ID}/json%0a",
                f"/v1.41//containers/{ID}/json",
            )
        ),
    ],
)
def test_all_else_is_refused(proxy: tuple[int, Engine, Path], method: str, target: str) -> None:
    port, engine, _ = proxy
    before = len(engine.asked)
    assert ask(port, method, target) == 403
    assert len(engine.asked) == before


def test_it_says_nothing(proxy: tuple[int, Engine, Path]) -> None:
    port, engine, log = proxy
    engine.containers = []
    said = log.read_bytes()
    for _ in range(20):
        ask(port, "GET", "/containers/json")
        ask(port, "POST", "/containers/json")
    assert log.read_bytes() == said
