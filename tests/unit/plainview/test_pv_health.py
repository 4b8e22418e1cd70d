"""Readiness: bounded, cached, and honest about what it does not know."""

import asyncio

import pytest

from plainview import Check, ObservabilitySettings, health
from plainview.health import CheckFailed, HealthMonitor, reason_of
from plainview.signals import DEPENDENCY_UP, SERVICE_READY
from tests.support.waiting import soon

SETTINGS = ObservabilitySettings(service_name="test", check_interval_s=0.05, check_timeout_s=0.1)


def service_ready():
    return SERVICE_READY.collector._value.get()


class Dependency:
    def __init__(self):
        self.mode, self.pings, self.cancelled = "ok", 0, 0

    async def ping(self):
        self.pings += 1
        if self.mode == "error":
            raise ConnectionError("mongodb://user:secret@host")
        if self.mode == "hang":
            await asyncio.sleep(60)
        while self.mode == "stubborn":
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.cancelled += 1


@pytest.fixture
async def watched():
    mongo, redis, changes = Dependency(), Dependency(), []
    monitor = HealthMonitor(
        SETTINGS,
        lambda: {"mongo": Check(mongo.ping), "redis": Check(redis.ping, False, "cache")},
        lambda name, check, found: changes.append((name, found.ok)),
    )
    monitor._believed_s = 60  # else a pause of the machine makes a finding too old
    yield monitor, mongo, redis, changes
    mongo.mode = redis.mode = "ok"
    await monitor.stop()


async def test_not_ready_before_the_first_check_of_everything(watched):
    monitor, mongo, redis, _ = watched
    assert monitor.report("ready")[0] == 503
    redis.mode = "hang"
    await monitor.start()
    status, body = monitor.report("ready")
    assert (status, body["status"], body["output"]) == (503, "fail", "starting")
    assert monitor.report("startup")[0] == 503
    assert monitor.report("live") == (200, {"status": "pass"})
    await soon(lambda: monitor.ready)
    status, body = monitor.report("ready")
    assert (status, body["status"]) == (200, "warn")
    assert mongo.pings >= 1


async def test_required_fails_optional_warns_and_both_recover(watched):
    monitor, mongo, redis, changes = watched
    await monitor.start()
    await soon(lambda: monitor.status == "pass")
    redis.mode = "error"
    await soon(lambda: monitor.status == "warn")
    assert monitor.report("ready")[0] == 200
    mongo.mode = "error"
    await soon(lambda: monitor.status == "fail")
    status, body = monitor.report("ready")
    database, cache = (body["checks"][name][0] for name in ("mongo", "redis"))
    assert (status, database["status"], cache["status"]) == (503, "fail", "warn")
    assert database["observedUnit"] == "ms"
    assert 0 <= database["age_s"] < 30
    assert "secret" not in str(body)
    assert service_ready() == DEPENDENCY_UP.collector.labels("mongo")._value.get() == 0
    # a service that was ready once has started, whatever happens later
    assert monitor.report("startup")[0] == 200
    mongo.mode = redis.mode = "ok"
    await soon(lambda: monitor.status == "pass")
    assert service_ready() == 1
    assert changes[:2] == [("redis", False), ("mongo", False)]
    assert sorted(changes[2:]) == [("mongo", True), ("redis", True)]


@pytest.mark.parametrize("mode", ["hang", "stubborn"])
async def test_a_hanging_ping_fails_in_time_and_does_not_pile_up(watched, mode):
    monitor, mongo, redis, _ = watched
    await monitor.start()
    await soon(lambda: monitor.ready)
    mongo.mode = mode
    await soon(lambda: not monitor.ready)  # by the time-out: no finding is too old by then
    before, redis_before = mongo.pings, redis.pings
    await asyncio.sleep(0.5)
    await soon(lambda: redis.pings - redis_before >= 3)
    assert monitor.report("ready")[0] == 503
    if mode == "stubborn":  # it refuses to end: it is not asked again
        await soon(lambda: mongo.cancelled >= 2)
        assert mongo.pings == before
    mongo.mode = "ok"
    await soon(lambda: monitor.ready)


async def test_old_findings_are_not_believed(watched, monkeypatch):
    monitor, *_ = watched
    monitor._believed_s = HealthMonitor(SETTINGS, dict)._believed_s
    await monitor.start()
    await soon(lambda: monitor.status == "pass")
    for task in monitor._tasks:  # whatever killed them
        task.cancel()
    now = health.monotonic()
    monkeypatch.setattr(health, "monotonic", lambda: now + 60)
    assert monitor.status == "fail"
    assert monitor.dependency("redis") == "warn"


async def test_without_dependencies_a_started_service_is_ready():
    monitor = HealthMonitor(SETTINGS, dict)
    assert not monitor.ready
    await monitor.start()
    assert monitor.ready
    await monitor.stop()
    assert not monitor.ready


ServerSelectionTimeoutError = type("ServerSelectionTimeoutError", (Exception,), {})  # as PyMongo's
AuthenticationError = type("AuthenticationError", (Exception,), {})  # as that of redis


class Domain(Exception):
    """An application's own, with a reason."""

    def __init__(self, reason):
        super().__init__("a secret")
        self.reason = reason


class Silent(Exception):
    """Cannot even be printed."""

    def __str__(self):
        raise RuntimeError


def around(error):
    """What drivers wrap around a refused connection."""
    wrapped = RuntimeError("the pool has no server")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "secret"), "refused"),
        (around(ConnectionRefusedError()), "refused"),
        (OSError("no route to host"), "refused"),
        (TimeoutError(), "timeout"),
        (ServerSelectionTimeoutError("db:27017: [Errno 111] Connection refused"), "refused"),
        (ServerSelectionTimeoutError("No replica set members"), "timeout"),
        (AuthenticationError("WRONGPASS"), "credentials"),
        (RuntimeError("index user_id_1 could not be made"), "index"),
        (Exception("[Errno 111] Connect call failed (timeouts: connect 9 s)"), "refused"),
        (OSError("Name or service not known: auth-db.example"), "refused"),
        (RuntimeError("the database system is shutting down"), "draining"),
        (Domain("credentials"), "credentials"),
        (Domain("a secret"), "other"),
        (Domain(["no", "word"]), "other"),
        (Silent(), "other"),
        (RuntimeError("Server reports wire version 6"), "version"),
        (CheckFailed("draining"), "draining"),
        (CheckFailed("nonsense"), "other"),
        (ValueError("something else"), "other"),
    ],
)
async def test_a_reason_is_one_word_of_a_closed_set(error, reason):
    assert reason_of(error) == reason
    found = []

    async def ping():
        raise error

    monitor = HealthMonitor(SETTINGS, lambda: {"d": Check(ping)}, lambda *it: found.append(it))
    await monitor.start()
    await soon(lambda: found)
    (detail,) = monitor.report("ready")[1]["checks"]["d"]
    await monitor.stop()
    assert detail["output"] == reason
    assert "secret" not in repr(detail)
    assert found[0][2].error is error
