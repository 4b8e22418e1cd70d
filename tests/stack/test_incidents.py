"""The break-it lab on a demo of its own, with the shipped thresholds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.incidents.catalogue import INCIDENTS
from lab.processes import demo as running
from lab.processes import demo_environment
from tests.support.processes import ended

# Its expression looks back a quarter of an hour: in `make incidents`, not here.
TOO_LONG = {"crash-loop"}
HERE = [incident for incident in INCIDENTS if incident.slug not in TOO_LONG]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a running demo: what tells the lab where it is."""
    # little traffic: in the half hour that this may take it would sell out a reward of 15
    folder = tmp_path_factory.mktemp("lab") / "local"
    env = demo_environment(folder, SEED_USERS="20", SEED_RPS="0.5", COLUMNS="20")
    with running(env):
        yield env
        lab(env, "fix")  # what a failed test left broken: the lab's processes outlive its commands


def lab(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m lab.incidents ...`, as make calls it."""
    command = [sys.executable, "-m", "lab.incidents", *arguments]
    return ended(command, 2700, env=env)


def left_of(env: dict[str, str]) -> list[bytes]:
    """Commands of the lab that still run for this demo: its Prometheus, its work."""
    ours, found = f"LOCAL_DIR={env['LOCAL_DIR']}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if ours in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found += [command] if b"incidents" in command else []
    return found


def test_without_anything_that_runs_it_says_so(tmp_path: Path) -> None:
    nothing = {**os.environ, "LOCAL_DIR": str(tmp_path), "DOCKER_HOST": "unix:///no/docker"}
    done = lab(nothing, "break", "mongo-down")
    assert done.returncode == 2
    assert "make demo" in done.stderr


@pytest.mark.timeout(900)  # the demo starts, and a Prometheus that has to see all of it
def test_what_is_broken_is_repaired_from_another_shell(demo: dict[str, str]) -> None:
    unknown = lab(demo, "break", "meteor")
    assert unknown.returncode == 2
    assert all(incident.slug in unknown.stderr for incident in INCIDENTS)
    assert "nothing is broken" in lab(demo, "fix").stderr

    broken = lab(demo, "break", "sold-out")
    assert broken.returncode == 0, broken.stdout + broken.stderr
    assert "StockExhausted is true after" in broken.stdout
    assert left_of(demo)
    again = lab(demo, "break", "mongo-down")
    assert again.returncode == 2
    assert "sold-out is broken already" in again.stderr

    fixed = lab(demo, "fix")
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    assert "StockExhausted is false" in fixed.stdout
    assert not left_of(demo)


@pytest.mark.timeout(2800)  # a quarter of it, unless the machine is busy
def test_each_incident_is_seen_by_its_alert_and_by_no_other(demo: dict[str, str]) -> None:
    """False before, true while it is broken, no other fault's alert, false after the repair."""
    assert len(HERE) >= 10
    done = lab(demo, "run", *(incident.slug for incident in HERE))
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout[done.stdout.index("| scenario |") :].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [row[0] for row in rows] == [incident.slug for incident in HERE]
    for slug, alert, to_true, to_false, others, _ in rows:
        assert (float(to_true) >= 0, float(to_false) >= 0, others) == (True, True, "none"), slug
        assert alert in {incident.alert.name for incident in HERE}
