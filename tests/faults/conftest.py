"""What the tests of this folder measured is printed at the end, passed or failed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.chaos import Figure, Platform
from tests.support.otlp import OtlpReceiver
from tests.support.servers import EmbeddedMongo, EmbeddedValkey
from tests.support.toxiproxy import Toxiproxy
from tests.support.trio import Trio

PREFIX = "figure: "


@contextmanager
def own_platform(directory: Path, **environment: str) -> Iterator[Platform]:
    """The trio with servers of its own, MongoDB behind a wire."""
    known = {"LOG_LEVEL": "warning", "DRAIN_SECONDS": "2", **environment}
    with EmbeddedMongo() as mongo, EmbeddedValkey() as valkey, Toxiproxy() as proxies:
        wire = proxies.wire("mongo", mongo.port)
        url = f"mongodb://127.0.0.1:{wire.port}"
        with Trio(directory, url, valkey.url, events=2, **known) as trio:
            yield Platform(trio, mongo, valkey, wire)


@pytest.fixture(scope="session")
def shared_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One for all modules: each test repairs what it breaks."""
    with own_platform(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


@pytest.fixture(scope="module")
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The shared one; one of its own for a module that has an ENVIRONMENT."""
    if environment := getattr(request.module, "ENVIRONMENT", {}):
        with own_platform(tmp_path_factory.mktemp("platform"), **environment) as platform:
            yield platform
    else:
        yield request.getfixturevalue("shared_platform")


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    """Where services may send their spans."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """`figure("mongo killed: recovered after", "3.2 s (bound 15 s)")`."""
    return lambda name, value: record_property(PREFIX + name, value)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Figures come with the tests' reports, so from other processes too."""
    outcomes = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    figures = [
        f"{name.removeprefix(PREFIX)}: {value}"
        for report in outcomes
        for name, value in report.user_properties
        if name.startswith(PREFIX)
    ]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join(figures) + "\n")
