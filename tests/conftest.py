"""Fixtures for all tests: telemetry errors are loud, servers are real and shared by a session."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

os.environ["PLAINVIEW_STRICT"] = "1"  # before anything imports plainview

from plainview import flush_logs
from tests.stack import loki
from tests.support.issuer import Issuer
from tests.support.servers import EmbeddedMongo, EmbeddedValkey
from tests.support.trio import Trio

pytest_plugins = ["tests.support.ending", "tests.support.skipping"]


@pytest.fixture(autouse=True)
def _logs_written() -> Iterator[None]:
    """Log lines, written by a thread, belong to the output of the test that logged them."""
    yield
    flush_logs(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Output with halves of characters, as some tests log it, can be sent between processes."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def loki_binary() -> Path:
    """The program, where users have it from its release; without it the test is skipped."""
    if found := loki.program():
        return found
    pytest.skip(loki.missing("loki"))


@pytest.fixture(scope="session")
def alloy_binary() -> Path:
    """The same of Alloy."""
    if found := loki.program("alloy"):
        return found
    pytest.skip(loki.missing("alloy"))


@pytest.fixture(scope="session")
def mongo() -> Iterator[EmbeddedMongo]:
    """A MongoDB wire server for the session: leave it running; own database names avoid clashes."""
    with EmbeddedMongo() as server:
        yield server


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey for the session: leave it running."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """One that a test may kill, restart and hang."""
    with EmbeddedValkey(directory=tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Issues tokens for a service that runs without auth."""
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def mongo_url(mongo: EmbeddedMongo) -> str:
    return mongo.url


@pytest.fixture(scope="session")
def redis_url(valkey: EmbeddedValkey) -> str:
    return valkey.url


@pytest.fixture(scope="module")
def trio(
    mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    """Real auth, event and gateway processes for the tests of a module."""
    with Trio(tmp_path_factory.mktemp("trio"), mongo_url, redis_url) as services:
        yield services
