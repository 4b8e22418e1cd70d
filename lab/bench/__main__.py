"""Measure, write `.local/bench.json`, print a table; exit 1 if a ratio misses its goal."""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from operator import ge, le
from pathlib import Path
from typing import Any

from demo.machine import ROOT
from lab.bench import parts, start
from lab.bench.load import generator
from lab.bench.rig import Rig
from lab.bench.scrape import scrape

LIBRARY = ROOT / "shared/observability/bench.py"
LIBRARY_S = 600
Goals = dict[str, tuple[Callable[[float, float], bool], float]]

#: each part, and the ratios that it owes with their goals: at least (ge) or at most (le)
PARTS: dict[str, tuple[Callable[[Rig], dict[str, float]], Goals]] = {
    "gateway": (
        parts.gateway,
        {"gateway_10pct_over_raw": (ge, 0.35), "gateway_100pct_over_raw": (ge, 0.28)},
    ),
    "event": (parts.event, {"event_read_over_bare": (le, 1.5), "event_on_over_off": (ge, 0.75)}),
    "claims": (parts.claims, {"sold_out_over_granted": (le, 0.5)}),
    "scrape": (
        scrape,
        {"scrape_page_cpu_s": (le, 0.3), "scrape_stall_s": (le, 0.02), "scrape_p99": (le, 1.3)},
    ),
    "start": (start.warm, {"demo_warm_s": (le, 10.0)}),
    "cold": (start.cold, {"demo_cold_s": (le, 120.0)}),  # measured only if it is named
}


def part(name: str, directory: Path, seconds: float, rounds: int) -> dict[str, dict[str, Any]]:
    """The ratios of one part; those that could not be measured (NaN) have missed."""
    run, goals = PARTS[name]
    found = dict.fromkeys(goals, math.nan)
    try:
        with ExitStack() as stack:
            found = run(Rig(directory, stack, seconds, rounds))
    except Exception:
        traceback.print_exc()
    return {
        ratio: {
            "value": None if math.isnan(found[ratio]) else round(found[ratio], 4),
            "goal": goal,
            "holds": holds(found[ratio], goal),
        }
        for ratio, (holds, goal) in goals.items()
    }


def library(directory: Path) -> dict[str, dict[str, Any]]:
    """The library's own bench, its ratios as it writes them; one that missed if it wrote none."""
    path = directory / "library.json"
    command = [sys.executable, str(LIBRARY), "--json", str(path)]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            process.wait(LIBRARY_S)
        except subprocess.TimeoutExpired:
            print(f"the library's bench did not end within {LIBRARY_S} s")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers too
    if not path.exists():
        return {"library": {"value": None, "goal": None, "holds": False}}
    found: dict[str, dict[str, Any]] = json.loads(path.read_text())
    return found


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = [*PARTS, "library"]
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(known)}")
    parser.add_argument("--seconds", type=float, default=5, help="of one way in one round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if unknown := {*options.parts} - {*known}:
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(known)}")
    directory = ROOT / ".local/bench"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    print(f"load: {generator()}, {options.rounds} rounds of {options.seconds:g} s")
    found: dict[str, dict[str, Any]] = {}
    for name in options.parts or [*(name for name in PARTS if name != "cold"), "library"]:
        if name == "library":
            found |= library(directory)
        else:
            found |= part(name, directory, options.seconds, options.rounds)
    (ROOT / ".local/bench.json").write_text(json.dumps({"ratios": found}, indent=2) + "\n")
    print(f"\n{'ratio':32} {'value':>8} {'goal':>8}")
    for name, each in found.items():
        verdict = "holds" if each["holds"] else "MISSES"
        print(f"{name:32} {each['value']!s:>8} {each['goal']!s:>8}  {verdict}")
    return 0 if all(each["holds"] for each in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
