"""The library as others get it: a wheel, alone with what it declares, under a real uvicorn."""

import json
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.servers import free_port, ready
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


def run(*command: object, **more) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def closure(wheel_requires: list[str]) -> set[str]:
    """Names of all distributions that are needed, extras only where somebody asks for them."""
    found: set[str] = set()
    todo = [(text, "") for text in wheel_requires]
    seen = set()
    while todo:
        text, extra = todo.pop()
        need = Requirement(text)
        if (text, extra) in seen or (need.marker and not need.marker.evaluate({"extra": extra})):
            continue
        seen.add((text, extra))
        found.add(canonicalize_name(need.name))
        for wanted in ("", *need.extras):
            todo += [(line, wanted) for line in distribution(need.name).requires or []]
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Python of an environment with the wheel, its dependencies and uvicorn, nothing else."""
    tmp = tmp_path_factory.mktemp("adopt")
    source = tmp / "source"
    skip = shutil.ignore_patterns("__pycache__", "dist", "build")
    shutil.copytree(ROOT / "shared" / "observability", source, ignore=skip)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp, source)
    (wheel,) = tmp.glob("plainview-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp / "venv")
    python = tmp / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig as s; print(s.get_path('purelib'))").strip())
    target = ("--no-deps", "--no-index", "--no-compile", "--target", site)
    run(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *target, wheel)
    (metadata,) = site.glob("plainview-*.dist-info/METADATA")
    requires = [
        line.removeprefix("Requires-Dist: ")
        for line in metadata.read_text().splitlines()
        if line.startswith("Requires-Dist: ")
    ]
    # links instead of an install from an index, which would need the network
    own = Path(sysconfig.get_path("purelib"))
    for name in closure([*requires, "uvicorn"]):
        for file in distribution(name).files or []:
            if ".." not in file.parts and (own / file).is_file():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(own / file)
    return python


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
for name in ("shared", "event", "pymongo", "redis", "httpx", "starlette_exporter"):
    assert importlib.util.find_spec(name) is None, name
assert importlib.util.find_spec("opentelemetry.instrumentation") is None
try:
    plainview.observe_mongo()
except ImportError as error:
    assert "plainview[mongo]" in str(error), error
else:
    raise SystemExit("instrumented without the extra")
"""
    assert "site-packages/plainview" in run(python, "-c", code, cwd=tmp_path)
    assert (next(python.parents[1].rglob("plainview/__init__.py")).parent / "py.typed").exists()


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
    for _ in range(50):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        mine = [line for line in lines if line.get("request_id") == "adopting-1"]
        if len(mine) == 2:
            break
        time.sleep(0.1)
    own, access = mine
    assert (own["event"], own["name"]) == ("hello.said", "ann")
    assert (access["event"], access["http_route"]) == ("http.request", "/hello/{name}")
    assert own["trace_id"] == access["trace_id"]
    assert f'trace_id="{own["trace_id"]}"' in page
