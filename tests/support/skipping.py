"""What may be skipped: what needs the program of Loki or Alloy, each named in tests/needs-loki.txt.

These two come from their releases and are not everywhere; all else that the tests need can be
installed or built, so another skipped test in CI is a test that silently does not run.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

NEEDS_LOKI = Path(__file__).resolve().parents[1] / "needs-loki.txt"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-loki-skipped",
        action="store_true",
        help="a skipped test that is not named in tests/needs-loki.txt fails",
    )


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"loki_binary", "alloy_binary"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("loki")


def _judged(
    config: pytest.Config,
) -> Generator[None, pytest.TestReport | pytest.CollectReport, Any]:
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    known = NEEDS_LOKI.read_text().splitlines()
    if skipped and config.option.only_loki_skipped and report.nodeid not in known:
        why = f"was skipped and is not named in tests/needs-loki.txt: {report.longrepr}"
        report.outcome, report.longrepr = "failed", f"{report.nodeid} {why}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _judged(item.config))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    return (yield from _judged(collector.config))
