"""The files that workers share: sums, what has ended, and a kill at any point of joining them."""

import contextlib
import os
import subprocess
from math import nan
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from plainview.decode import parse_metrics
from plainview.workers import SharedMetrics
from tests.support.processes import python


@pytest.fixture(scope="module")
def ended() -> list[int]:
    """IDs of processes that have run and are no more."""
    found = []
    for _ in range(3):
        process = subprocess.Popen(["true"])
        process.wait(10)
        found.append(process.pid)
    return found


def write(folder: Path, kind: str, pid: int, *values: tuple[str, dict[str, str], float, float]):
    file = MmapedDict(str(folder / f"{kind}_{pid}.db"))
    for name, labels, value, timestamp in values:
        metric = name.removesuffix("_total").removesuffix("_bucket").removesuffix("_sum")
        file.write_value(
            mmap_key(metric, name, [*labels], [*labels.values()], "h"), value, timestamp
        )
    file.close()


def counted(folder: Path, pid: int, value: float):
    """The files of a worker that has counted so many of each kind."""
    write(folder, "counter", pid, ("a_total", {"x": "1"}, value, 0.0))
    buckets = [("b_bucket", {"le": le}, value, 0.0) for le in ("1.0", "+Inf")]
    write(folder, "histogram", pid, *buckets, ("b_sum", {}, value, 0.0))
    write(folder, "gauge_livesum", pid, ("open", {}, value, 0.0))


def shown(folder: Path) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(SharedMetrics(folder))
    page = generate_latest(registry).decode()
    return {(s.name, *s.labels.values()): s.value for s in parse_metrics(page)}


TOGETHER = {
    ("a_total", "1"): 111,
    ("b_bucket", "1.0"): 111,
    ("b_bucket", "+Inf"): 222,
    ("b_count",): 222,
    ("b_sum",): 111,
    ("open",): 100,
}


def test_ended_workers_are_joined_and_count_on(tmp_path, ended):
    counted(tmp_path, os.getpid(), 100)
    counted(tmp_path, ended[0], 10)
    counted(tmp_path, ended[1], 1)
    for _ in range(2):
        assert shown(tmp_path) == TOGETHER
    kept = {"plainview.lock", "counter_ended.db", "histogram_ended.db"}
    own = {f"{kind}_{os.getpid()}.db" for kind in ("counter", "histogram", "gauge_livesum")}
    assert {file.name for file in tmp_path.iterdir()} == kept | own
    counted(tmp_path, ended[2], 1000)
    assert shown(tmp_path)["a_total", "1"] == 1111
    assert {file.name for file in tmp_path.iterdir()} == kept | own


@pytest.mark.parametrize("step", ["unlink", "rename", "write_text", "close"])
@pytest.mark.parametrize("call", range(6))
def test_a_kill_while_joining_neither_loses_nor_doubles(tmp_path, ended, monkeypatch, step, call):
    class Killed(BaseException):
        pass

    owner = MmapedDict if step == "close" else Path
    plain, left = getattr(owner, step), [call]

    def dies(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return plain(*args, **kwargs)

    counted(tmp_path, os.getpid(), 100)
    counted(tmp_path, ended[0], 10)
    counted(tmp_path, ended[1], 1)
    with monkeypatch.context() as patched:
        patched.setattr(owner, step, dies)
        with contextlib.suppress(Killed):
            shown(tmp_path)
    assert shown(tmp_path) == TOGETHER
    assert shown(tmp_path) == TOGETHER


def test_series_that_a_worker_removed_are_gone(tmp_path):
    own, other = os.getpid(), os.getppid()
    write(tmp_path, "gauge_livemostrecent", own, ("left", {"x": "1"}, 5, 100.0))
    write(tmp_path, "gauge_livemostrecent", other, ("left", {"x": "1"}, nan, 200.0))
    write(
        tmp_path, "gauge_livesum", own, ("held", {"x": "1"}, 5, 0.0), ("held", {"x": "2"}, 1, 0.0)
    )
    write(tmp_path, "gauge_livesum", other, ("held", {"x": "1"}, nan, 0.0))
    assert shown(tmp_path) == {("held", "1"): 5, ("held", "2"): 1}
    write(tmp_path, "gauge_livemostrecent", own, ("left", {"x": "1"}, 6, 300.0))
    assert shown(tmp_path)["left", "1"] == 6


def test_files_of_others_and_broken_ones_harm_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAINVIEW_STRICT", "0")
    counted(tmp_path, os.getpid(), 7)
    (tmp_path / "counter_1.db").touch()
    (tmp_path / "counter_2.db").write_bytes(b"\xff\x00\x00\x00garbage that is no key" * 9)
    (tmp_path / "some.db").write_bytes(b"x")
    (tmp_path / "gauge_1").mkdir()
    assert shown(tmp_path)["a_total", "1"] == 7


PROGRAM = """
import sys
from pathlib import Path
from fastapi import FastAPI
from plainview import Bounded, Catalogue, ObservabilitySettings, metrics, observe
own = Catalogue("own")
left = own.gauge("left", "x", labels={"of": Bounded(5)}, multiprocess_mode="latest")
observe(FastAPI(), ObservabilitySettings(service_name="s", log_format="json"), catalogue=own)
left.replace({("a",): 1, ("b",): 2})
left.replace({("b",): 3})
page = metrics.page("")[0].decode()
assert 'left{of="b"} 3.0' in page and 'of="a"' not in page, page
openmetrics = metrics.page("application/openmetrics-text;version=1.0.0")[0]
assert openmetrics.endswith(b"# EOF\\n")
print("fine", [*Path().iterdir()])
"""


@pytest.mark.parametrize(
    ("directory", "told"),
    [("", 0), ("new/one", 0), ("/dev/null/none", 1), ("file", 1)],
)
def test_a_directory_that_is_empty_new_or_impossible(tmp_path, directory, told):
    (tmp_path / "cwd").mkdir()
    (tmp_path / "file").touch()
    path = str(tmp_path / directory) if directory else ""
    variables = {"PLAINVIEW_STRICT": "1", "PROMETHEUS_MULTIPROC_DIR": path}
    done = python(PROGRAM, cwd=tmp_path / "cwd", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fine []" in done.stdout  # an empty variable is no directory, least of all this one
    assert done.stdout.count("telemetry.degraded") == told, done.stdout
    assert done.stdout.count("PROMETHEUS_MULTIPROC_DIR=") == told
    assert bool([*tmp_path.glob("new/one/gauge_livemostrecent_*.db")]) is (directory == "new/one")
