"""The tests' own rules: what may be skipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.programs import ROOT
from tests.support.skipping import NEEDS_LOKI


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )


def test_what_needs_loki_is_listed() -> None:
    """The list is what CI lets a run without Loki skip."""
    where = ["tests/stack", "tests/ops", "tests/compose"]
    done = run_pytest("--collect-only", "-q", "-m", "loki", *where)
    found = [line for line in done.stdout.splitlines() if "::" in line]
    assert found, done.stdout + done.stderr
    assert found == NEEDS_LOKI.read_text().splitlines(), (
        f"python -m pytest --collect-only -q -m loki {' '.join(where)}"
        " | grep :: > tests/needs-loki.txt"
    )


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("import pytest\ndef test_it(): pytest.skip('why')", False),
        ("import pytest\npytest.skip('why', allow_module_level=True)", False),
        ("import pytest\n@pytest.mark.xfail\ndef test_it(): assert False", True),
        ("def test_it(): pass", True),
    ],
)
def test_another_skipped_test_fails(tmp_path: Path, module: str, allowed: bool) -> None:
    (tmp_path / "test_it.py").write_text(module)
    done = run_pytest("-p", "tests.support.skipping", "--only-loki-skipped", str(tmp_path))
    assert (done.returncode == 0) is allowed, done.stdout
    assert ("is not named in tests/needs-loki.txt: " in done.stdout) is not allowed
