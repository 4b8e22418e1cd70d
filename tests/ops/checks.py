"""Programs that check their own configuration."""

import os
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


def run(*command: str, **environment: str) -> None:
    result = ended(command, env={**os.environ, **environment})
    assert result.returncode == 0, result.stdout + result.stderr
