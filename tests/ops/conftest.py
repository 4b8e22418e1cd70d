"""`make check` ends with what it did not check, and the command that brings what it lacked."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each test that was skipped: its name, the missing program, what brings it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not checked")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        name = report.nodeid.rsplit("::", 1)[-1]
        terminalreporter.write_line(f"{name}: {str(reason).removeprefix('Skipped: ')}")
