"""The metrics page and what the process tells about itself."""

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from plainview import ObservabilitySettings, metrics
from plainview.decode import parse_metrics
from plainview.metrics import ResourceCollector, container_limits
from plainview.signals import EVENT_LOOP_LAG

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture(autouse=True)
def installed():
    metrics.install(ObservabilitySettings(service_name="test"))


def test_page_in_the_form_that_was_asked_for():
    body, content_type = metrics.page(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    body, content_type = metrics.page("*/*")
    assert content_type.startswith("text/plain")
    assert b"# EOF" not in body
    names = {sample.name for sample in parse_metrics(body.decode())}
    assert {"process_cpu_seconds_total", "container_cpu_limit_cores", "service_info"} <= names
    assert not [name for name in names if name.endswith("_created")]


def test_process_metrics_without_proc():
    registry = CollectorRegistry()
    registry.register(ResourceCollector())
    before = registry.get_sample_value("process_cpu_seconds_total")
    start = time.process_time()
    while time.process_time() - start < 0.05:
        pass
    assert registry.get_sample_value("process_cpu_seconds_total") - before >= 0.04
    assert registry.get_sample_value("process_resident_memory_bytes") > 10_000_000
    assert registry.get_sample_value("process_open_fds") >= 3


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        ("0::/\n", {"cpu.max": "150000 100000", "memory.max": "1048576"}, (1.5, 1048576)),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/memory.max": "4096"}, (0.5, 4096)),
        ("0::/a\n", {"a/memory.max": "9999", "memory.max": "5000"}, (None, 5000)),
        ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, (None, None)),
        (
            "4:memory:/d\n3:cpu,cpuacct:/d\n2:pids:/d\n",
            {
                "cpu/d/cpu.cfs_quota_us": "25000",
                "cpu/d/cpu.cfs_period_us": "100000",
                "memory/d/memory.limit_in_bytes": "8192",
            },
            (0.25, 8192),
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1"}, (None, None)),
        ("", {}, (None, None)),
    ],
)
def test_limits_of_the_container_else_of_the_machine(tmp_path, own, files, limits):
    machine = container_limits(tmp_path / "none", tmp_path / "none")
    assert machine[0] >= 1
    assert machine[1] > 1e8
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    wanted = tuple(limit or whole for limit, whole in zip(limits, machine, strict=True))
    assert container_limits(tmp_path / "fs", tmp_path / "own") == wanted


async def test_event_loop_lag_sees_a_blocked_loop():
    def late():
        fast = EVENT_LOOP_LAG.collector._buckets[:6]  # to 0.1 s
        with_all = EVENT_LOOP_LAG.collector._buckets
        return sum(b.get() for b in with_all) - sum(b.get() for b in fast)

    seen = []
    while len(seen) < 5 and 1 not in seen:  # again: a pause of the machine is a blocked loop too
        before = late()
        task = asyncio.create_task(metrics.sample_event_loop_lag())
        await asyncio.sleep(0.05)
        time.sleep(0.5)
        await asyncio.sleep(0.05)
        task.cancel()
        seen.append(late() - before)
    assert 1 in seen
