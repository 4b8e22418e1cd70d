"""The whole pipeline: real trio, Prometheus, Collector, Jaeger and, where it is to be had, Loki.

All of them run on the files of compose.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.stack import programs
from tests.stack.loki import Loki, Shipper
from tests.stack.script import Script, backdate
from tests.stack.stack import Stack, pipeline, until
from tests.stack.traffic import PER_SECOND, Traffic
from tests.support.servers import EmbeddedMongo, EmbeddedValkey
from tests.support.trio import Trio

# Two processes: one waits for alerts, the other asks the pipeline, first one that is quiet from its
# start, then one whose data are compared. All other modules go to whoever is free.
GROUPS = {
    "waiting": ["incidents", "delivery"],
    "pipeline": ["silence", "pipeline", "follow_stack", "data_right", "data_there",
                 "faults_show_data"],
}  # fmt: skip
TURNS = {name: group for group, names in GROUPS.items() for name in names}


def module(nodeid: str) -> str:
    """`silence` of `tests/stack/test_silence.py::test_it`."""
    return Path(nodeid.partition("::")[0]).stem.removeprefix("test_")


class Turns(LoadScopeScheduling):
    """Tests of a group go to one process, in their order."""

    def _split_scope(self, nodeid: str) -> str:
        return TURNS.get(module(nodeid), module(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Turns:
    return Turns(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    turns = list(TURNS)
    items.sort(  # stable: the order inside of a module stays
        key=lambda item: turns.index(name) if (name := module(item.nodeid)) in TURNS else len(turns)
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which of the two pipelines a module asks; the first is gone when the second starts."""
    if "stack" in metafunc.fixturenames:
        data = metafunc.module.__name__.rpartition(".")[2].startswith(("test_data", "test_faults"))
        which = "data" if data else "silence"
        metafunc.parametrize(
            "stack", [which], indirect=True, scope="session", ids=[pytest.HIDDEN_PARAM]
        )


@pytest.fixture(scope="session")
def loki(loki_binary: Path, stack: Stack) -> Loki:
    """For assertions on Loki's own answers: without Loki the test is skipped."""
    assert stack.loki
    return stack.loki


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest,
    mongo: EmbeddedMongo,
    valkey: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp(request.param)
    # about noon there: no day ends in the session
    zone = ZoneInfo(f"Etc/GMT{time.gmtime().tm_hour - 12:+d}")
    with ExitStack() as opened:
        telemetry = opened.enter_context(pipeline(directory))
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.traces_url,
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "ENVIRONMENT": "local",
            "BUSINESS_TIMEZONE": zone.key,
        }
        trio = opened.enter_context(Trio(directory, mongo.url, valkey.url, events=2, **environment))
        targets: dict[str, list[str]] = telemetry.jobs()
        for service in trio.services:
            targets.setdefault(service.name, []).append(f"127.0.0.1:{service.port}")
        prometheus = programs.prometheus(
            directory / "prometheus", telemetry.ports.prometheus, targets
        )
        opened.enter_context(prometheus)
        watched_from = time.time()
        if telemetry.loki:
            files = {service.log: service.name for service in trio.services}
            opened.callback(Shipper(telemetry.loki.url, files).close)
        yield Stack(
            **vars(telemetry), trio=trio, directory=directory, targets=targets, zone=zone,
            watched_from=watched_from,
        )  # fmt: skip


# What follows happens once and in this order, whichever test asks first: a start, a scripted run,
# traffic, a rolling restart under it, twice the traffic. Then it is quiet, and faults may come.


@pytest.fixture(scope="session")
def traffic(stack: Stack, mongo: EmbeddedMongo) -> Iterator[Traffic]:
    """The script has run, its traffic goes on."""
    jobs = len(stack.targets) + 1  # two replicas of event

    def scraped() -> bool:
        return len(stack.query("up == 1")) == jobs

    until(scraped, what="every target up: a counter's first sample is before its first count")
    backdate(stack.trio, mongo.url, stack.zone)
    script = Script(stack.trio)
    script.run()
    running = Traffic(script, PER_SECOND)
    yield running
    running.close()


@pytest.fixture(scope="session")
def restarted(stack: Stack, traffic: Traffic) -> Traffic:
    """Each process was ended and started again, one after the other, under traffic.

    Not of the first: of few requests those that fail in a restart are a share that is alarming.
    """
    time.sleep(max(0, traffic.script.began_at + 60 - time.time()))
    for service in stack.trio.services:
        which = f'{{instance="127.0.0.1:{service.port}"}}'
        started = f"process_start_time_seconds{which}"
        (before,) = until(lambda expr=started: stack.query(expr), what=started)
        # soon after a scrape: what comes later than the last one of a process is lost
        fresh = f"time() - timestamp(up{which}) < 1"
        until(lambda expr=fresh: stack.query(expr), what=fresh)
        began = time.monotonic()
        assert service.terminate() == 0
        service.start().wait_ready()
        traffic.away_s[service.name] = time.monotonic() - began
        scraped = f"{started} != {before['value'][1]}"
        until(lambda expr=scraped: stack.query(expr), what=scraped)
    return traffic


@pytest.fixture(scope="session")
def doubled(restarted: Traffic) -> Traffic:
    """Twice as many requests, for two minutes at least before it is quiet."""
    restarted.double()
    return restarted


@pytest.fixture(scope="session")
def quiet(stack: Stack, doubled: Traffic) -> tuple[float, float]:
    """From when to when nothing was broken; the traffic ends here."""
    time.sleep(max(0, stack.begin + 300 - time.time(), doubled.doubled_at + 120 - time.time()))
    doubled.close()
    return stack.begin, time.time()
