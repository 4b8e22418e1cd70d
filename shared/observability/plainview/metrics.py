"""Metrics of the process itself, and the page that shows all metrics."""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from . import workers
from .guarded import guarded
from .page_texts import encoded
from .settings import ObservabilitySettings
from .signals import (
    CPU_LIMIT,
    EVENT_LOOP_LAG,
    LIBRARY_METRICS,
    MEMORY_LIMIT,
    SERVICE_INFO,
    WORKERS_APART,
)

LAG_INTERVAL_S = 0.25
_STARTED = time.time()
_SHARED = workers.shared_registry()
_installed = False


class ResourceCollector(Collector):
    """Process metrics without /proc (macOS); memory is the peak, as the current is not known."""

    def collect(self) -> Iterable[Metric]:
        """CPU seconds, memory, open files and start time, named as prometheus_client does."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
        yield CounterMetricFamily(
            "process_cpu_seconds", "User and system CPU time", usage.ru_utime + usage.ru_stime
        )
        memory = usage.ru_maxrss * unit
        yield GaugeMetricFamily("process_resident_memory_bytes", "Peak resident memory", memory)
        with guarded("metrics"):
            files = len(os.listdir("/dev/fd"))  # noqa: PTH208 - names are enough
            yield GaugeMetricFamily("process_open_fds", "Open file descriptors", files)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield GaugeMetricFamily("process_max_fds", "Most open file descriptors", limit)
        yield GaugeMetricFamily("process_start_time_seconds", "Start, Unix time", _STARTED)


def install(settings: ObservabilitySettings) -> list[str]:
    """Expose the library's own metrics and set the constant ones; may be called again.

    Returns a sentence for each thing that does not work.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    told = LIBRARY_METRICS.expose()
    global _installed  # noqa: PLW0603 - one per process, as its registry
    if not _installed:
        _installed = True
        told += workers.TOLD
        if sys.platform == "darwin":
            REGISTRY.register(ResourceCollector())
    cores, memory = container_limits()
    CPU_LIMIT.set(cores)
    MEMORY_LIMIT.set(memory)
    SERVICE_INFO.set(1, version=settings.service_version, environment=settings.environment)
    return told


def page(accept: str) -> tuple[bytes, str]:
    """All metrics, of all workers, in Prometheus or OpenMetrics form, and its content type."""
    encode, content_type = choose_encoder(accept)
    with guarded("metrics"):
        WORKERS_APART.set(workers.apart())
    if _SHARED is not None:
        return encode(_SHARED), content_type
    return encoded(REGISTRY, encode, content_type), content_type


async def sample_event_loop_lag() -> None:
    """Observe, until cancelled, how late the event loop wakes a sleeping task."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(LAG_INTERVAL_S)
        EVENT_LOOP_LAG.observe(max(0.0, time.perf_counter() - start - LAG_INTERVAL_S))


def container_limits(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> tuple[float, float]:
    """CPU cores and bytes of memory this process may use, by its cgroups or else the machine."""
    cores = float(os.cpu_count() or 1)
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with guarded("metrics"):
        for folder in _cgroups(root, own):
            quota = _words(folder / "cpu.max") or [
                *_words(folder / "cpu.cfs_quota_us"),
                *_words(folder / "cpu.cfs_period_us"),
            ]
            if len(quota) == 2 and quota[0] not in ("max", "-1"):
                cores = min(cores, int(quota[0]) / int(quota[1]))
            for name in ("memory.max", "memory.limit_in_bytes"):
                for word in _words(folder / name):
                    memory = memory if word == "max" else min(memory, float(word))
    return cores, memory


def _cgroups(root: Path, own: Path) -> Iterator[Path]:
    """Folders of this process's cgroup and all above it, of version 2 and 1."""
    lines = own.read_text().splitlines() if own.exists() else []
    for line in lines or ["0::/"]:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and not {"cpu", "memory"} & set(names):
            continue
        top = root / ("memory" if "memory" in names else "cpu") if controllers else root
        folder = top / path.lstrip("/")
        while folder != top:
            yield folder
            folder = folder.parent
        yield top


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
