"""The library adopted in a service with ten kinds of trouble, by the script that adopters run."""

from pathlib import Path

import pytest

from lab.troubles import __main__ as troubles


def test_line_metric_and_span_agree_for_every_kind_of_trouble(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert troubles.matrix(tmp_path) == []
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(troubles.CASES)
    assert all(" agree: " in line for line in told)


def test_two_workers_count_together(tmp_path: Path) -> None:
    assert troubles.workers(tmp_path) == []
