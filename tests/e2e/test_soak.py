"""`make soak` in half a minute: it measures all services under load and says what it found."""

import re
import sys

import pytest

from lab.soak import BOUNDS_MIB
from tests.support.processes import ended


@pytest.mark.timeout(300)
def test_each_service_is_measured_under_load() -> None:
    done = ended([sys.executable, "-m", "lab.soak", "--minutes", "0.5", "--rps", "40"])
    assert "Traceback" not in done.stderr, done.stderr
    found = re.match(r"(\d+) requests, (\d+) failed", done.stdout)
    assert found, done.stdout + done.stderr
    assert int(found[1]) >= 30 * 40 / 2  # a busy machine may manage half of them
    assert int(found[2]) == 0, done.stdout
    rows = re.findall(r"(\w+) +([\d.]+) +([\d.]+) +\S+ +\S+ +(holds|MISSES)", done.stdout)
    assert {name for name, *_ in rows} == {*BOUNDS_MIB}
    for name, before, after, verdict in rows:
        assert float(before) > 20  # MiB: each is a Python process with its libraries
        # a tenth of a MiB is rounded away in what is printed
        growth = float(after) - float(before)
        assert abs(growth - BOUNDS_MIB[name]) < 0.2 or (growth <= BOUNDS_MIB[name]) == (
            verdict == "holds"
        )
    assert done.returncode == ("MISSES" in done.stdout)
