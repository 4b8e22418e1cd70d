"""SECURITY.md and docs/reliability.md name tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    files = set(re.findall(r"`((?:tests/)?[a-z_/]*test_[a-z_]+\.py)`", text))
    functions = set(re.findall(r"`(test_[a-z_]+)(?:\.\.\.)?`", text))
    assert files
    faults = "".join(path.read_text() for path in (ROOT / "tests" / "faults").glob("test_*.py"))
    here = [name for name in files if (ROOT / name).exists()]
    there = [name for name in files if (ROOT / "tests" / "faults" / name).exists()]
    assert files == {*here, *there}
    assert [name for name in functions if f"def {name}" not in faults] == []
