"""Measure, write `.local/bench.json`, print a table; exit 1 if a ratio misses its goal."""

import argparse
import json
import math
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from lab.bench import claims, event, gateway, scrape, start, transport
from lab.bench.load import generator
from lab.bench.rig import Ratio, Rig

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "shared/observability/bench.py"
LIBRARY_S = 600

#: each part, and the ratios that it owes: name, goal, whether more is better
PARTS: dict[str, tuple[Callable[[Rig], list[Ratio]], tuple[tuple[str, float, bool], ...]]] = {
    "gateway": (
        gateway.bench,
        (("gateway_10pct_over_raw", 0.35, True), ("gateway_100pct_over_raw", 0.28, True)),
    ),
    "event": (
        event.bench,
        (("event_read_over_bare", 1.5, False), ("event_on_over_off", 0.75, True)),
    ),
    "claims": (claims.bench, (("sold_out_over_granted", 0.5, False),)),
    "scrape": (
        scrape.bench,
        (
            ("scrape_page_cpu_s", scrape.PAGE_S, False),
            ("scrape_stall_s", scrape.STALL_S, False),
            ("scrape_p99", 1.3, False),
        ),
    ),
    "start": (start.bench, (("demo_warm_s", start.WARM_S, False),)),
    "transport": (transport.bench, ()),
    "cold": (start.cold, (("demo_cold_s", start.COLD_S, False),)),
}
UNASKED = ("cold",)  # measured only if it is named


def part(name: str, directory: Path, seconds: float, rounds: int) -> list[Ratio]:
    """The ratios of one part; those that could not be measured are NaN and have missed."""
    run, owed = PARTS[name]
    try:
        with ExitStack() as stack:
            return run(Rig(directory, stack, seconds, rounds))
    except Exception:
        traceback.print_exc()
        return [Ratio(ratio, math.nan, goal, least) for ratio, goal, least in owed]


def library(directory: Path) -> dict[str, object]:
    """The library's own bench, its ratios as it writes them; empty if it wrote none."""
    path = directory / "library.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, str(LIBRARY), "--json", str(path)]
    try:
        subprocess.run(command, timeout=LIBRARY_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"the library's bench did not end within {LIBRARY_S} s")
    found: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    return found


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}, library")
    parser.add_argument("--seconds", type=float, default=5, help="of one way in one round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    parts = options.parts or [*(name for name in PARTS if name not in UNASKED), "library"]
    directory = ROOT / ".local/bench"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    print(f"load: {generator()}, {options.rounds} rounds of {options.seconds:g} s")
    found: dict[str, object] = {}
    missed = False
    for name in parts:
        if name == "library":
            own = library(directory)
            found |= own
            missed |= not own or not all(ratio["holds"] for ratio in own.values())  # type: ignore[index]
            continue
        for ratio in part(name, directory, options.seconds, options.rounds):
            value = None if math.isnan(ratio.value) else ratio.value
            found[ratio.name] = {"value": value, "goal": ratio.goal, "holds": ratio.holds}
            missed |= not ratio.holds
    (ROOT / ".local/bench.json").write_text(json.dumps({"ratios": found}, indent=2) + "\n")
    print(f"\n{'ratio':32} {'value':>8} {'goal':>8}")
    for name, each in found.items():
        value, goal, holds = (each[key] for key in ("value", "goal", "holds"))  # type: ignore[index]
        print(f"{name:32} {value!s:>8} {goal!s:>8}  {'holds' if holds else 'MISSES'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
