"""Health: a background task checks dependencies, and probes read its last findings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, get_args
from weakref import WeakSet

from .context import text_of
from .settings import ObservabilitySettings
from .signals import DEPENDENCY_LATENCY, DEPENDENCY_UP, SERVICE_READY

Status = Literal["pass", "warn", "fail"]
Probe = Literal["live", "ready", "startup"]
Reason = Literal["refused", "timeout", "credentials", "index", "version", "draining", "other"]
REASONS: tuple[Reason, ...] = get_args(Reason)

# Words in the name or text of a driver's exception, in lower case; the first match counts.
_SIGNS: tuple[tuple[Reason, tuple[str, ...]], ...] = (
    # not "auth" alone, which is part of many a host's name
    (
        "credentials",
        ("authentic", "authoriz", "noauth", "credential", "password", "noperm", "forbidden"),
    ),
    ("index", ("index",)),
    ("version", ("version", "wire protocol", "unknown command")),
    ("draining", ("shutting down", "shutdown in progress")),
    ("refused", ("refused", "connect call failed")),  # the second is asyncio's text
    ("timeout", ("timeout", "timed out")),
    (
        "refused",
        ("connect", "unreachable", "selection", "name or service", "closed", "unable to open"),
    ),
)


class CheckFailed(Exception):
    """Raised by a check to give the reason of its failure, a word of the closed set.

    The text of the exception is only logged.
    """

    def __init__(self, reason: Reason, text: str = "") -> None:
        super().__init__(text or reason)
        self.reason: Reason = reason if reason in REASONS else "other"


def reason_of(error: BaseException) -> Reason:
    """Why a check failed, as one word of a closed set, so that replies show no exception's text.

    An exception with an attribute `reason` of that set, as `CheckFailed` has one, says it itself.
    """
    if isinstance(said := getattr(error, "reason", None), str):
        for word in REASONS:
            if said == word:
                return word
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    # also of a client that was still trying again when its time was over
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return "refused"
    if isinstance(chain[0], TimeoutError):
        return "timeout"
    texts = [f"{type(one).__name__} {text_of(one)[:1000]}".lower() for one in chain]
    for reason, signs in _SIGNS:
        if any(sign in text for text in texts for sign in signs):
            return reason
    return "refused" if isinstance(chain[0], OSError) else "other"


@dataclass(frozen=True)
class Check:
    """How to check a dependency: `ping` raises if it fails. If it is not `required`, it warns."""

    ping: Callable[[], Awaitable[object]]
    required: bool = True
    component_type: str = "datastore"


@dataclass(frozen=True)
class Finding:
    """Result of one check; `reason` is None if it is well, `at` monotonic, `time` RFC 3339."""

    reason: Reason | None
    error: BaseException | None
    latency_s: float
    at: float
    time: str

    @property
    def ok(self) -> bool:
        return self.reason is None


_running: WeakSet[HealthMonitor] = WeakSet()  # of this process


def refresh_ready() -> None:
    """Set the metric `service_ready` to 1 if all apps of this process are ready, else 0."""
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
        on_change: Callable[[str, Check, Finding], None] = lambda name, check, found: None,
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
        # Seconds that a finding is believed: one round may be late by another round and a second.
        self._believed_s = 2 * settings.check_interval_s + settings.check_timeout_s + 1

    @property
    def ready(self) -> bool:
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
        # "fail" also for an optional one before its first check, so the service is not ready yet
        return "fail" if self._checks[name].required or not found else "warn"

    async def start(self) -> None:
        """Start checking; returns at once, the first findings come within `check_timeout_s`."""
        self._checks = dict(self._make_checks())
        _running.add(self)
        self._tasks = [
            asyncio.create_task(self._watch(name, check), name=f"plainview-check-{name}")
            for name, check in self._checks.items()
        ]
        refresh_ready()

    async def stop(self) -> None:
        """End the tasks; a ping that ignores its cancellation is not waited for."""
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
            reason, error = await self._ask(name, check)
            end = monotonic()
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            before = self._found.get(name)
            found = self._found[name] = Finding(reason, error, end - start, end, now)
            DEPENDENCY_UP.set(float(found.ok), dependency=name)
            DEPENDENCY_LATENCY.set(end - start, dependency=name)
            refresh_ready()
            if found.ok != (before is None or before.ok):
                self._on_change(name, check, found)
            await asyncio.sleep(max(0.0, self._settings.check_interval_s - (end - start)))

    async def _ask(self, name: str, check: Check) -> tuple[Reason | None, BaseException | None]:
        """The reason and error of a failed ping; a ping that still hangs is not started again."""
        ping = self._pings.get(name)
        hung = ping is not None and not ping.done()
        if ping is None or not hung:
            ping = self._pings[name] = asyncio.ensure_future(_call(check))
        # wait_for() would not do: it waits until a cancelled ping has really ended
        done, _ = await asyncio.wait({ping}, timeout=self._settings.check_timeout_s)
        if not done:
            ping.cancel()
            return "timeout", None
        if ping.cancelled() or hung:
            return "timeout", None
        error = ping.exception()
        return (None if error is None else reason_of(error)), error

    def report(self, probe: Probe) -> tuple[int, dict[str, Any]]:
        """HTTP status and body (draft health+json) of a probe, from the last findings."""
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
            if found.reason is not None:
                detail["output"] = found.reason
            detail |= {
                "observedValue": round(found.latency_s * 1000, 3),
                "observedUnit": "ms",
                "time": found.time,
                "age_s": round(monotonic() - found.at, 3),
            }
        return detail


async def _call(check: Check) -> object:
    return await check.ping()
