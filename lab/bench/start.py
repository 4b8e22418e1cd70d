"""How long a start takes: importing each service, and the demo until a reward can be claimed.

The cold start, with an empty virtual environment, is a part of its own, as it loads every package.
"""

import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import httpx

from demo.machine import PORTS
from lab.bench.processes import free_port
from lab.bench.rig import Ratio, Rig

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("gateway", "auth", "event", "console")
TIMES = 3
WARM_S, COLD_S = 10.0, 120.0


def bench(rig: Rig) -> list[Ratio]:
    """CPU of imports is printed; the warm start of the demo, its data kept, has a goal."""
    bare = _import("sys")
    print(f"\n{'importing':10} {'CPU':>7}   (Python alone {bare:.2f} s)")
    for service in SERVICES:
        print(f"{service:10} {_import(f'{service}.main') - bare:5.2f} s")
    directory = rig.directory / "demo"
    _first_claim([sys.executable, "-m", "demo"], ROOT, directory)  # makes the data
    warm = _first_claim([sys.executable, "-m", "demo"], ROOT, directory)
    print(f"the demo's warm start to the first claim: {warm:.1f} s")
    return [Ratio("demo_warm_s", round(warm, 1), WARM_S, least=False)]


def cold(rig: Rig) -> list[Ratio]:
    """The demo's first start from a fresh copy of the repository: `make demo`."""
    copy = (rig.directory / "clone").resolve()
    git = str(shutil.which("git"))
    subprocess.run([git, "clone", "-q", str(ROOT), str(copy)], check=True)
    took = _first_claim(["make", "demo"], copy, copy / ".local")
    shutil.rmtree(copy)
    print(f"\nthe demo's cold start to the first claim: {took:.1f} s")
    return [Ratio("demo_cold_s", round(took, 1), COLD_S, least=False)]


def _import(module: str) -> float:
    """Seconds of CPU of a Python that imports a module; the median of a few."""
    found = []
    for _ in range(TIMES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(found)


def _first_claim(command: list[str], where: Path, directory: Path) -> float:
    """Seconds until a claim was granted; the demo is ended afterwards."""
    ports = {name: str(free_port()) for name in PORTS}
    environment = {**os.environ, **ports, "LOCAL_DIR": str(directory.resolve()), "SEED_RPS": "1"}
    directory.mkdir(parents=True, exist_ok=True)
    info = directory / "demo.json"
    began = time.monotonic()
    with (directory.parent / "demo-start.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=where, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not info.exists():
            if process.poll() is not None or time.monotonic() - began > 3 * COLD_S:
                raise RuntimeError(f"the demo did not start, see {log.name}")
            time.sleep(0.05)
        _claim(info)
        return time.monotonic() - began
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _claim(info: Path) -> None:
    told = httpx.Response(200, content=info.read_bytes()).json()
    url = f"{told['services']['gateway']}/api/v1"
    with httpx.Client(trust_env=False, timeout=10) as http:
        login = http.post(f"{url}/auth/login", json=told["accounts"]["USER"]).raise_for_status()
        headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
        path = f"{url}/rewards/{told['example']['reward_id']}/requests"
        http.post(path, headers=headers | {"Idempotency-Key": uuid4().hex}).raise_for_status()
