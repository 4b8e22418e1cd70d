"""The library as others get it: a wheel, alone with what it declares, under a real uvicorn."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.servers import free_port, ready
from tests.support.waiting import until
from tests.support.wheel import environment, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Python of an environment with the wheel, its dependencies and uvicorn, nothing else."""
    return environment(tmp_path_factory.mktemp("adopt"), others=["uvicorn"])


@pytest.fixture
def service(python: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Base URL and log file of the example in work."""
    shutil.copy(ROOT / "examples" / "adopt" / "service.py", tmp_path)
    port, log = free_port(), tmp_path / "log"
    command = [python, "-m", "uvicorn", "service:app", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=tmp_path, env={}, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: ready(url), what=f"the service, see {log}")
        yield url, log
    finally:
        process.terminate()
        process.wait(20)


def test_the_wheel_is_alone(python: Path, tmp_path: Path):
    code = """
import importlib.util, plainview
print(plainview.__file__)
for name in ("shared", "event", "pymongo", "redis", "httpx", "sqlalchemy", "starlette_exporter"):
    assert importlib.util.find_spec(name) is None, name
assert importlib.util.find_spec("opentelemetry.instrumentation") is None
"""
    assert "site-packages/plainview" in run(python, "-c", code, cwd=tmp_path)
    package = next(python.parents[1].rglob("plainview/__init__.py")).parent
    assert (package / "py.typed").exists()
    (licence,) = package.parent.glob("plainview-*.dist-info/licenses/LICENSE")
    assert licence.read_text() == (ROOT / "LICENSE").read_text()


def test_ten_lines_give_everything(service):
    url, log = service
    for probe in ("live", "ready", "startup"):
        reply = httpx.get(f"{url}/health/{probe}")
        assert (reply.status_code, reply.json()["status"]) == (200, "pass")
    reply = httpx.get(f"{url}/hello/ann", headers={"X-Request-ID": "adopting-1"})
    assert reply.json() == {"hello": "ann"}
    assert reply.headers["X-Request-ID"] == "adopting-1"
    plain = httpx.get(f"{url}/metrics")
    assert 'path="/hello/{name}",status_code="200"} 1.0' in plain.text
    page = httpx.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text"}).text

    def mine() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return [line for line in lines if line.get("request_id") == "adopting-1"]

    until(lambda: len(mine()) == 2)
    own, access = mine()
    assert (own["event"], own["name"]) == ("hello.said", "ann")
    assert (access["event"], access["http_route"]) == ("http.request", "/hello/{name}")
    assert own["trace_id"] == access["trace_id"]
    assert f'trace_id="{own["trace_id"]}"' in page


def test_the_command_is_installed_and_finds_nothing_wrong(service, python: Path):
    url, _ = service
    said = run(python, "-m", "plainview", "check", url)
    assert "0 wrong" in said
    (script,) = python.parents[1].rglob("plainview-*.dist-info/entry_points.txt")
    assert "plainview = plainview.command:main" in script.read_text()


def test_the_extra_of_sqlalchemy_is_enough_for_an_async_engine(tmp_path: Path):
    python = environment(tmp_path, extras=["sqlalchemy"], others=["aiosqlite"])
    code = """
import asyncio
from plainview import observe_sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def main():
    engine = observe_sqlalchemy(create_async_engine("sqlite+aiosqlite://"))
    async with engine.connect() as connection:
        print(await connection.scalar(text("SELECT 7")))
    await engine.dispose()

asyncio.run(main())
"""
    assert run(python, "-c", code, cwd=tmp_path).strip() == "7"
