"""The bench's own logic; its figures are what `make bench` prints."""

import math
import re
import sys
from contextlib import ExitStack
from operator import ge, le

import pytest

from lab.bench import __main__ as main
from lab.bench import load, scrape
from lab.bench.rig import Measured, Rig, measure, median_ratio
from lab.processes import free_port, listens
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [(0.4, False, True), (0.5, True, True), (0.6, True, False), (math.nan, False, False)],
)
def test_a_goal_is_reached_or_missed(tmp_path, monkeypatch, value, least, most):
    goals = {"least": (ge, 0.5), "most": (le, 0.5)}
    monkeypatch.setitem(main.PARTS, "gateway", (lambda _: dict.fromkeys(goals, value), goals))
    found = main.part("gateway", tmp_path, 1, 1)
    assert [each["holds"] for each in found.values()] == [least, most]


def test_rounds_are_compared_with_their_own_and_the_median_counts():
    one = [Measured(rate, 0) for rate in (100, 50, 10)]
    other = [Measured(rate, 0) for rate in (200, 100, 100)]
    assert median_ratio(one, other, lambda each: each.rate) == 0.5


def test_what_cannot_be_measured_has_missed_by_name(tmp_path, monkeypatch, capsys):
    def broken(_):
        raise RuntimeError("no such thing")

    monkeypatch.setitem(main.PARTS, "gateway", (broken, main.PARTS["gateway"][1]))
    found = main.part("gateway", tmp_path, 1, 1)
    assert [*found] == ["gateway_10pct_over_raw", "gateway_100pct_over_raw"]
    assert not any(ratio["holds"] for ratio in found.values())
    assert "no such thing" in capsys.readouterr().err


def test_a_scraped_service_is_measured(tmp_path, monkeypatch, capsys):
    small = {"REQUESTS": 40, "RPS": 200, "PAIRS": 1, "PAGES": 1, "EVERY_S": 0.05}
    for name, value in small.items():
        monkeypatch.setattr(scrape, name, value)
    found = main.part("scrape", tmp_path, 1, 1)
    assert all(ratio["value"] >= 0 for ratio in found.values())
    size = re.search(r"([\d.]+) MiB", capsys.readouterr().out)
    assert size
    assert float(size[1]) > 1  # a thousand routes with ten buckets each


@pytest.mark.parametrize("wrk", [True, False])
def test_processes_are_measured_and_end(tmp_path, monkeypatch, wrk):
    if not wrk:
        monkeypatch.setattr("lab.bench.load.shutil.which", lambda _: None)
    elif load.generator() != "wrk -t1 -c16":
        pytest.skip("wrk is not here")
    with ExitStack() as stack:
        rig = Rig(tmp_path, stack, 1, 1)
        upstream = rig.stand_in("upstream")
        ways = [upstream, rig.stand_in("aiohttp", upstream.url)]
        found = rig.in_turn(ways, "/x", lambda: {"X-Any": "thing"})
        with pytest.raises(RuntimeError, match="failed"):
            measure(rig.stand_in("aiohttp", "http://127.0.0.1:1"), "/x", {}, 1)
    assert upstream.popen.poll() is not None
    assert all(each.rate > 10 for rounds in found.values() for each in rounds)


def test_an_unknown_part_is_refused_at_once(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "start", "transport"])
    with pytest.raises(SystemExit, match="2"):
        main.main()
    assert "no part transport: there are gateway, event," in capsys.readouterr().err


def test_nothing_of_the_librarys_bench_outlives_its_time(tmp_path, monkeypatch):
    port, script = free_port(), tmp_path / "bench.py"
    code = "import os, socket, sys, time\nkept = socket.create_server(('127.0.0.1', {}))\n"
    code += "os.fork()\nopen(sys.argv[2] + '.forked', 'w')\ntime.sleep(100)\n"
    script.write_text(code.format(port))
    monkeypatch.setattr(main, "LIBRARY", script)
    monkeypatch.setattr(main, "LIBRARY_S", 3)
    assert [*main.library(tmp_path)] == ["library"]
    assert (tmp_path / "library.json.forked").exists()
    until(lambda: not listens(port), 5)
