"""Health: a background task checks dependencies, probes only read what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal
from weakref import WeakSet

from .settings import ObservabilitySettings
from .signals import DEPENDENCY_LATENCY, DEPENDENCY_UP, SERVICE_READY

Status = Literal["pass", "warn", "fail"]
Probe = Literal["live", "ready", "startup"]


@dataclass(frozen=True)
class Check:
    """How to ask a dependency: `ping` raises if it is not well. Optional ones only warn."""

    ping: Callable[[], Awaitable[object]]
    required: bool = True
    component_type: str = "datastore"


@dataclass(frozen=True)
class Finding:
    """Result of one check; `at` is monotonic, `time` RFC 3339."""

    ok: bool
    latency_s: float
    at: float
    time: str


_running: WeakSet[HealthMonitor] = WeakSet()  # of this process


def refresh_ready() -> None:
    """Set `service_ready`: all apps of this process are ready."""
    SERVICE_READY.set(float(bool(_running) and all(monitor.ready for monitor in _running)))


class HealthMonitor:
    """Knows whether a service and each of its dependencies are well.

    Not ready before the first check of everything, while draining, and when a required
    dependency fails or its last finding is too old to be believed.
    """

    def __init__(
        self,
        settings: ObservabilitySettings,
        checks: Callable[[], Mapping[str, Check]],
        on_change: Callable[[str, Check, bool], None] = lambda name, check, ok: None,
    ) -> None:
        self._settings = settings
        self._make_checks = checks
        self._on_change = on_change
        self._checks: Mapping[str, Check] = {}
        self._found: dict[str, Finding] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._pings: dict[str, asyncio.Task[object]] = {}
        self._was_ready = False
        self.draining = False
        # a check that is late by one more round and a second says that nobody checks
        self._believed_s = 2 * settings.check_interval_s + settings.check_timeout_s + 1

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.status != "fail"

    @property
    def status(self) -> Status:
        """`warn` if only optional dependencies fail."""
        if self not in _running or self.draining:
            return "fail"
        states = {self.dependency(name) for name in self._checks}
        status: Status = "fail" if "fail" in states else "warn" if "warn" in states else "pass"
        self._was_ready |= status != "fail"
        return status

    def dependency(self, name: str) -> Status:
        """State of one dependency by its last finding."""
        found = self._found.get(name)
        if found and found.ok and monotonic() - found.at < self._believed_s:
            return "pass"
        # an optional one has to be asked once too, else a start is told as an outage
        return "fail" if self._checks[name].required or not found else "warn"

    async def start(self) -> None:
        """Begin to check; returns at once, the first findings come within a time-out."""
        self._checks = dict(self._make_checks())
        _running.add(self)
        self._tasks = [
            asyncio.create_task(self._watch(name, check), name=f"plainview-check-{name}")
            for name, check in self._checks.items()
        ]
        refresh_ready()

    async def stop(self) -> None:
        """End the tasks; a ping that ignores its cancellation is left behind."""
        _running.discard(self)
        refresh_ready()
        tasks = [*self._tasks, *self._pings.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        self._tasks, self._pings = [], {}

    def start_draining(self) -> None:
        """Not ready from now on, while requests are still served."""
        self.draining = True
        refresh_ready()

    async def _watch(self, name: str, check: Check) -> None:
        while True:
            start = monotonic()
            ok = await self._ask(name, check)
            end = monotonic()
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            before = self._found.get(name)
            self._found[name] = Finding(ok, end - start, end, now)
            DEPENDENCY_UP.set(float(ok), dependency=name)
            DEPENDENCY_LATENCY.set(end - start, dependency=name)
            refresh_ready()
            if ok != (before is None or before.ok):
                self._on_change(name, check, ok)
            await asyncio.sleep(max(0.0, self._settings.check_interval_s - (end - start)))

    async def _ask(self, name: str, check: Check) -> bool:
        """Whether it answered in time; one that still hangs is not asked again."""
        ping = self._pings.get(name)
        hung = ping is not None and not ping.done()
        if ping is None or not hung:
            ping = self._pings[name] = asyncio.ensure_future(_call(check))
        # not wait_for(): that waits for as long as a ping refuses to be cancelled
        done, _ = await asyncio.wait({ping}, timeout=self._settings.check_timeout_s)
        if not done:
            ping.cancel()
            return False
        failed = ping.cancelled() or ping.exception() is not None
        return not failed and not hung

    def report(self, probe: Probe) -> tuple[int, dict[str, Any]]:
        """HTTP status and body (draft health+json) of a probe; touches nothing."""
        if probe == "live":
            return 200, {"status": "pass"}
        status = self.status
        if probe == "startup" and self._was_ready:
            return 200, {"status": "pass"}
        body: dict[str, Any] = {
            "status": status,
            "serviceId": self._settings.service_name,
            "releaseId": self._settings.service_version,
        }
        if self.draining:
            body["output"] = "draining"
        elif self not in _running or len(self._found) < len(self._checks):
            body["output"] = "starting"
        body["checks"] = {name: [self._detail(name)] for name in self._checks}
        return (503 if status == "fail" else 200), body

    def _detail(self, name: str) -> dict[str, Any]:
        check, found = self._checks[name], self._found.get(name)
        detail: dict[str, Any] = {
            "componentType": check.component_type,
            "required": check.required,
            "status": self.dependency(name),
        }
        if found:
            detail |= {
                "observedValue": round(found.latency_s * 1000, 3),
                "observedUnit": "ms",
                "time": found.time,
                "age_s": round(monotonic() - found.at, 3),
            }
        return detail


async def _call(check: Check) -> object:
    return await check.ping()
