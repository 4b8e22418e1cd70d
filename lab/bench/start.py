"""How long a start takes: importing each service, and the demo until a reward can be claimed.

The cold start, with an empty virtual environment, is a part of its own, as it loads every package.
"""

import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

from demo.machine import ROOT
from lab.bench.rig import Rig
from lab.processes import DEMO, demo, demo_environment
from seed.client import Client

SERVICES = ("gateway", "auth", "event", "console")
TIMES = 3


def warm(rig: Rig) -> dict[str, float]:
    """CPU of imports is printed; the warm start of the demo, its data kept, has a goal."""
    bare = _import("sys")
    print(f"\n{'importing':10} {'CPU':>7}   (Python alone {bare:.2f} s)")
    for service in SERVICES:
        print(f"{service:10} {_import(f'{service}.main') - bare:5.2f} s")
    _first_claim(DEMO, ROOT, rig.directory / "demo")  # makes the data
    took = _first_claim(DEMO, ROOT, rig.directory / "demo")
    print(f"the demo's warm start to the first claim: {took:.1f} s")
    return {"demo_warm_s": took}


def cold(rig: Rig) -> dict[str, float]:
    """The demo's first start from a fresh copy of the repository: `make demo`."""
    copy = (rig.directory / "clone").resolve()
    git = str(shutil.which("git"))
    subprocess.run([git, "clone", "-q", str(ROOT), str(copy)], check=True)
    took = _first_claim(["make", "demo"], copy, copy / ".local")
    shutil.rmtree(copy)
    print(f"\nthe demo's cold start to the first claim: {took:.1f} s")
    return {"demo_cold_s": took}


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
    began = time.monotonic()
    with demo(demo_environment(directory.resolve()), command, where) as (_, told):
        api = Client(told["services"]["gateway"])
        token = api.token(told["accounts"]["USER"])
        path = f"/rewards/{told['example']['reward_id']}/requests"
        api.call("POST", path, token, headers={"Idempotency-Key": uuid4().hex})
        return time.monotonic() - began
