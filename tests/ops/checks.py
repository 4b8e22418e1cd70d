"""Programs that check their own configuration."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.stack.programs import binary
from tests.support.processes import ended


def program(name: str) -> str:
    """The checker's path; without it the test is skipped, and says how to get it (CI fails)."""
    try:
        return str(binary(name))
    except FileNotFoundError as error:
        pytest.skip(str(error))


def promtool_tests(directory: Path, *tests: Any, **document: Any) -> None:
    """Have promtool run its unit tests of rules and expressions."""
    path = directory / "test.yaml"
    path.write_text(yaml.safe_dump({"tests": [*tests], **document}))
    run(program("promtool"), "test", "rules", str(path))


def input_series(series: Mapping[str, str]) -> list[dict[str, str]]:
    """Series and their values in promtool's words, as `1x4 stale`."""
    return [{"series": name, "values": values} for name, values in series.items()]


def gives(
    directory: Path, interval: str, series: Mapping[str, str],
    cases: Iterable[tuple[str, str, Mapping[str, float]]], **document: Any,
) -> None:  # fmt: skip
    """Each expression gives at that time these values by their labels, as `{service="event"}`."""
    expected = [
        {
            "expr": expr, "eval_time": at,
            "exp_samples": [{"labels": labels, "value": n} for labels, n in samples.items()],
        }
        for expr, at, samples in cases
    ]  # fmt: skip
    test = {"interval": interval, "input_series": input_series(series)}
    promtool_tests(directory, {**test, "promql_expr_test": expected}, **document)


def run(*command: str, **environment: str) -> None:
    result = ended(command, env={**os.environ, **environment})
    assert result.returncode == 0, result.stdout + result.stderr
