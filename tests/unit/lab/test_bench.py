"""The bench's own logic; its figures are what `make bench` prints."""

import math
import re
from contextlib import ExitStack

import pytest

from lab.bench import __main__ as main
from lab.bench import load, scrape
from lab.bench.load import Measured
from lab.bench.rig import Ratio, Rig, median_ratio


@pytest.mark.parametrize(
    ("value", "least", "holds"),
    [(0.4, True, False), (0.5, True, True), (0.6, True, True), (math.nan, True, False),
     (0.4, False, True), (0.5, False, True), (0.6, False, False), (math.nan, False, False)],
)  # fmt: skip
def test_a_goal_is_reached_or_missed(value, least, holds):
    assert Ratio("x", value, 0.5, least).holds == holds


def test_rounds_are_compared_with_their_own_and_the_median_counts():
    one = [Measured(rate, 0) for rate in (100, 50, 10)]
    other = [Measured(rate, 0) for rate in (200, 100, 100)]
    assert median_ratio(one, other, lambda each: each.rate) == 0.5


def test_what_cannot_be_measured_has_missed_by_name(tmp_path, monkeypatch, capsys):
    def broken(_: Rig) -> list[Ratio]:
        raise RuntimeError("no such thing")

    monkeypatch.setitem(main.PARTS, "gateway", (broken, main.PARTS["gateway"][1]))
    found = main.part("gateway", tmp_path, 1, 1)
    assert [ratio.name for ratio in found] == ["gateway_10pct_over_raw", "gateway_100pct_over_raw"]
    assert not any(ratio.holds for ratio in found)
    assert "no such thing" in capsys.readouterr().err


def test_a_scraped_service_is_measured(tmp_path, monkeypatch, capsys):
    small = {"REQUESTS": 40, "RPS": 200, "PAIRS": 1, "PAGES": 1, "EVERY_S": 0.05}
    for name, value in small.items():
        monkeypatch.setattr(scrape, name, value)
    with ExitStack() as stack:
        found = scrape.bench(Rig(tmp_path, stack, 1, 1))
    owed = [name for name, *_ in main.PARTS["scrape"][1]]
    assert [ratio.name for ratio in found] == owed
    assert all(ratio.value >= 0 for ratio in found)
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
            load.measure(rig.stand_in("aiohttp", "http://127.0.0.1:1"), "/x", {}, 1)
        process = upstream._process
    assert process
    assert process.poll() is not None
    assert all(each.rate > 10 for rounds in found.values() for each in rounds)
