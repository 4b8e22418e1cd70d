"""What the tests of this folder measured is printed at the end, passed or failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.chaos import Platform
from tests.support.servers import EmbeddedMongo, EmbeddedValkey
from tests.support.toxiproxy import Toxiproxy
from tests.support.trio import Trio

Figure = Callable[[str, str], None]
_FIGURES = pytest.StashKey[list[tuple[str, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


@pytest.fixture(scope="module")
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The trio with servers of its own, MongoDB behind a wire; a module's ENVIRONMENT is added."""
    environment = {
        "LOG_LEVEL": "warning",
        "DRAIN_SECONDS": "2",
        **getattr(request.module, "ENVIRONMENT", {}),
    }
    with EmbeddedMongo() as mongo, EmbeddedValkey() as valkey, Toxiproxy() as proxies:
        wire = proxies.wire("mongo", mongo.port)
        url = f"mongodb://127.0.0.1:{wire.port}"
        directory = tmp_path_factory.mktemp("platform")
        with Trio(directory, url, valkey.url, events=2, **environment) as trio:
            yield Platform(trio, mongo, valkey, wire)


@pytest.fixture
def figure(pytestconfig: pytest.Config) -> Figure:
    """`figure("mongo killed: recovered after", "3.2 s (bound 15 s)")`."""

    def note(name: str, value: str) -> None:
        pytestconfig.stash[_FIGURES].append((name, value))

    return note


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if figures := config.stash[_FIGURES]:
        terminalreporter.section("figures")
        for name, value in figures:
            terminalreporter.write_line(f"{name}: {value}")
