"""The inputs of docs/scaling.md that no machine changes are those of today's code."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from generate.scaling import COMPRESSED, MEASURED, PEAK_MIB, SERIES
from lab import scaling


@pytest.mark.slow
def test_what_a_request_leaves_is_what_the_page_counts_with(tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = scaling.measured(tmp_path, stack, 80)
    for kind, counted in MEASURED.items():
        now = found[kind]
        # jobs of the services run some too, more of them per request on a busy machine
        assert now["scripts"] == pytest.approx(counted["scripts"], abs=0.5)
        written = sum(now[f"{name}_log_bytes"] for name in SERIES)
        assert written == pytest.approx(counted["log_bytes"], rel=0.15)
        # what waits for one round trip to Redis shares its span
        assert now["spans"] == pytest.approx(counted["spans"], abs=2)
        assert all(now[f"{name}_cpu_us"] > 0 for name in ("gateway", "event")), kind
    for name, series in SERIES.items():
        assert found["process"][f"{name}_series"] == pytest.approx(series, rel=0.3)
    for name, peak in PEAK_MIB.items():
        assert found["process"][f"{name}_peak_mib"] == pytest.approx(peak, rel=0.25)
    assert found["process"]["zstd_ratio"] > COMPRESSED / 2
