"""The tests' own rules: what may be skipped, how a run ends, who imports whom."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.stack.programs import ROOT
from tests.support.processes import ended
from tests.support.skipping import NEEDS_LOKI

# CI's options are not meant for these runs, and where pytest sees one of CI's variables it prints
# the reasons of failures once more in its summary.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("CI", "BUILD_NUMBER")}
ENVIRONMENT["PYTEST_ADDOPTS"] = ""


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return ended(command, env=ENVIRONMENT)


def test_what_is_tested_is_what_is_shipped() -> None:
    """Each list of packages is pinned by itself (`make lock`); what they share is pinned alike."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for file in ROOT.glob("requirements*.txt"):
        pins = re.findall(r"^([\w.-]+)(?:\[[^]]*])?==([\w.]+)", file.read_text(), re.M)
        for name, _ in pins:  # some have a version for each of two ranges of Python
            versions = tuple(version for each, version in pins if each == name)
            found.setdefault(name, set()).add(versions)
    assert len(found) > 100
    differing = {name: versions for name, versions in found.items() if len(versions) > 1}
    assert differing == {}, "make lock UPGRADE=1"


def test_what_needs_loki_is_listed() -> None:
    """The list is what CI lets a run without Loki skip."""
    where = ["tests/stack", "tests/ops", "tests/compose"]
    done = run_pytest("--collect-only", "-q", "-m", "loki", *where)
    found = sorted(line for line in done.stdout.splitlines() if "::" in line)
    assert found, done.stdout + done.stderr
    assert found == NEEDS_LOKI.read_text().splitlines(), (
        f"python -m pytest --collect-only -q -m loki {' '.join(where)}"
        " | grep :: | LC_ALL=C sort > tests/needs-loki.txt"
    )


SKIPPED = {
    "one": "import pytest\ndef test_it(): pytest.skip('why')",
    "all": "import pytest\npytest.skip('why', allow_module_level=True)",
    "known": "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False",
    "none": "def test_it(): pass",
}


def test_another_skipped_test_fails(tmp_path: Path) -> None:
    for name, module in SKIPPED.items():
        (tmp_path / f"test_{name}.py").write_text(module)
    options = ("--only-loki-skipped", "--continue-on-collection-errors")
    done = run_pytest("-p", "tests.support.skipping", *options, str(tmp_path))
    assert done.returncode == 1, done.stdout
    *_, closing = done.stdout.splitlines()
    assert all(each in closing for each in ("1 failed", "1 passed", "1 xfailed", "1 error"))
    assert done.stdout.count("is not named in tests/needs-loki.txt: ") == 2


HUNG = """
import subprocess, threading, pytest

forever = threading.Event().wait

def test_itself(): forever()

def test_child(): subprocess.Popen(["sleep", "1000"]).wait()

@pytest.fixture
def hung():
    yield
    forever()

def test_teardown(hung): pass

@pytest.fixture(scope="session")
def hung_at_last():
    yield
    forever()

def test_end_of_the_session(hung_at_last): threading.Thread(target=forever).start()
"""


def test_what_hangs_ends(tmp_path: Path) -> None:
    """A test, a child it waits for, a teardown, the session's, a thread that is left."""
    (tmp_path / "test_it.py").write_text(HUNG)
    program = f"""
import pytest, sys
from tests.support import ending, processes
ending.LEAVING_S = 1
options = ["-p", "tests.support.ending", "-p", "no:cacheprovider", "-o", "timeout=1"]
sys.exit(pytest.main([*options, {str(tmp_path)!r}]))
"""
    done = in_bounds(60, sys.executable, "-c", program)
    assert done.returncode == 1, done.stdout + done.stderr
    *_, closing, left = done.stdout.splitlines()
    counted = re.findall(r"\d (?:failed|passed|errors)", closing)
    assert counted == ["2 failed", "2 passed", "2 errors"]
    assert "Timeout (>1.0s) from pytest-timeout" in done.stdout
    assert "Timeout (0:00:01)!" in done.stderr  # the thread
    assert left == "--- left behind, ended: sleep 1000"


def in_bounds(seconds: float, *command: str) -> subprocess.CompletedProcess[str]:
    """The command as .ci/run runs it; it has a second to tear down."""
    program = f"""
import sys
from tests.support import processes
processes.GRACE_S = 1
sys.exit(processes.run({seconds}, sys.argv[1:]))
"""
    arguments = [sys.executable, "-c", program, *command]
    return ended(arguments, env=ENVIRONMENT)


def running(mark: str) -> bool:
    lines = ended(["ps", "-wweo", "args="]).stdout.splitlines()
    return any(line.startswith("sh -c") and mark in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "then", "code"),
    [(60, "exit 3", 3), (1, "trap '' TERM INT; while :; do sleep 1; done", 124)],
    ids=["ended", "deaf"],
)
def test_no_process_is_left(seconds: int, then: str, code: int) -> None:
    """Not one of another session whose parent has ended, nor a command that does not listen."""
    mark = uuid4().hex
    done = in_bounds(seconds, "sh", "-c", f"setsid sh -c 'sleep 1000; : {mark}' & {then}")
    assert done.returncode == code, done.stdout + done.stderr
    assert not running(mark)


TESTS = ROOT / "tests"


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def test_no_test_module_imports_another() -> None:
    """What two of them need is a helper: tests/support, or beside them in a module of its own."""
    wrong = {
        str(path.relative_to(TESTS)): sorted(bad)
        for path in TESTS.rglob("*.py")
        if (bad := {
            name for name in imports_of(path)
            if name.startswith("tests.")
            and any(part.startswith("test_") or part == "conftest" for part in name.split("."))
        })
    }  # fmt: skip
    assert wrong == {}
