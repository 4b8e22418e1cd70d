"""The real trio with something of it broken: what fails says so quickly, the rest goes on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx
import pytest

from shared.tokens import Role
from tests.support.otlp import OtlpReceiver
from tests.support.servers import EmbeddedMongo, EmbeddedValkey
from tests.support.timing import in_time_blocking
from tests.support.trio import Service, Trio
from tests.support.waiting import until

API = "/api/v1"
pytestmark = pytest.mark.timeout(400)  # what is waited for may come late on a busy machine


@pytest.fixture(scope="module")
def own_mongo() -> Iterator[EmbeddedMongo]:
    with EmbeddedMongo() as server:
        yield server


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="module")
def broken(
    own_mongo: EmbeddedMongo,
    own_valkey: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trio]:
    directory = tmp_path_factory.mktemp("faults")
    with Trio(
        directory, own_mongo.url, own_valkey.url, events=2, DRAIN_SECONDS="2", LOG_LEVEL="warning"
    ) as trio:
        yield trio


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    start = time.monotonic()
    reply = call()
    return reply, time.monotonic() - start


def median(durations: list[float]) -> float:
    return sorted(durations)[len(durations) // 2]


def status(service: Service, kind: str) -> tuple[int, float]:
    reply, seconds = timed(lambda: httpx.get(f"{service.url}/health/{kind}", timeout=20))
    return reply.status_code, seconds


def browse(trio: Trio) -> httpx.Response:
    with trio.client("somebody", Role.USER) as http:
        return http.get("/events")


def test_mongo_hangs(broken: Trio, own_mongo: EmbeddedMongo) -> None:
    assert browse(broken).status_code == 200
    own_mongo.pause()
    try:
        for service in (broken.auth, broken.events[0]):
            until(lambda s=service: status(s, "ready")[0] == 503, 60, "not ready")
            for kind, expected in (("live", 200), ("ready", 503)):

                def answers(
                    which: Service = service, of: str = kind, code: int = expected
                ) -> float:
                    found = [status(which, of) for _ in range(10)]
                    assert {each for each, _ in found} == {code}
                    return median([seconds for _, seconds in found])  # hanging, all would wait

                in_time_blocking(answers, 0.3)
        assert status(broken.gateway, "ready")[0] == 200
        replies: list[httpx.Response] = []

        def refused() -> float:
            reply, seconds = timed(lambda: browse(broken))
            assert reply.status_code in (503, 504)
            replies.append(reply)
            return seconds

        in_time_blocking(refused, 5)
        reply = replies[0]
        problem = reply.json()
        assert reply.headers["content-type"].startswith("application/problem+json")
        assert problem["code"]
        assert problem["request_id"] == reply.headers["X-Request-ID"]
        assert len(problem["trace_id"]) == 32
    finally:
        own_mongo.resume()
    until(lambda: browse(broken).status_code == 200, 60, "recovered")


def test_redis_hangs(broken: Trio, own_valkey: EmbeddedValkey) -> None:
    assert browse(broken).status_code == 200
    own_valkey.pause()
    try:
        durations: list[float] = []

        def answered() -> float:
            for _ in range(10):
                reply, seconds = timed(lambda: browse(broken))
                assert reply.status_code == 200
                durations.append(seconds)
            return median(durations[-10:])

        in_time_blocking(answered, 0.5)
        assert min(durations) < 0.3

        def readiness() -> tuple[int, str]:
            reply = httpx.get(f"{broken.gateway.url}/health/ready", timeout=20)
            return reply.status_code, reply.json()["status"]

        until(lambda: readiness() == (200, "warn"), 60, "readiness says warn")
    finally:
        own_valkey.resume()
    until(lambda: readiness() == (200, "pass"), 60, "pass")


def test_auth_away(broken: Trio) -> None:
    assert browse(broken).status_code == 200  # the keys are known now
    broken.auth.kill()
    try:
        assert browse(broken).status_code == 200
        assert status(broken.gateway, "ready")[0] == 200
        body = {"email": "a@example.com", "password": "whatever it was"}
        http = broken.client()  # one: to make a client takes as long as the bound below

        def login() -> httpx.Response:
            return http.post("/auth/login", json=body)

        for _ in range(6):
            reply = login()
            assert reply.status_code == 503
            assert int(reply.headers["Retry-After"]) >= 1
        in_time_blocking(lambda: min(timed(login)[1] for _ in range(20)), 0.05)
    finally:
        broken.auth.start().wait_ready()
    until(lambda: login().status_code == 401, 60, "the breaker closes again")


def test_a_rolling_restart_under_load_fails_nothing(broken: Trio) -> None:
    """SIGTERM to one of two event processes while clients go on through the gateway."""
    until(lambda: browse(broken).status_code == 200, 60)
    answers: Counter[int] = Counter()
    stop = threading.Event()
    lock = threading.Lock()

    def client() -> None:
        with broken.client(uuid4().hex) as http:
            while not stop.is_set():
                reply = http.get("/events")
                with lock:
                    answers[reply.status_code] += 1

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        assert broken.events[0].terminate() == 0
        time.sleep(1)
        broken.events[0].start().wait_ready()
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert set(answers) == {200}, answers
    assert answers[200] > 20


def test_a_collector_that_hangs_is_not_felt(
    own_mongo: EmbeddedMongo, own_valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with OtlpReceiver() as receiver:
        receiver.delay_s = 60
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_BSP_MAX_QUEUE_SIZE": "64",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
        }
        directory = tmp_path_factory.mktemp("collector")
        with Trio(directory, own_mongo.url, own_valkey.url, **variables) as trio:
            durations = []
            for _ in range(100):
                reply, seconds = timed(lambda: browse(trio))
                assert reply.status_code == 200
                durations.append(seconds)
            assert median(durations) < 0.5

            def dropped() -> float:
                metrics = httpx.get(f"{trio.gateway.url}/metrics", timeout=20).text
                (line,) = [
                    line for line in metrics.splitlines()
                    if line.startswith("telemetry_spans_dropped_total")
                ]  # fmt: skip
                return float(line.split()[1])

            until(lambda: dropped() > 0, 30, "spans dropped")
            start = time.monotonic()
            assert trio.gateway.terminate() == 0
            assert time.monotonic() - start < 15
