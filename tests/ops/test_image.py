"""The image holds what runs in it, and nothing of the rooms beside."""

import ast
import re
from pathlib import Path

from tests.stack.programs import ROOT

ADMITTED = {
    line.removeprefix("!").strip("/")
    for line in (ROOT / ".dockerignore").read_text().splitlines()
    if line.startswith("!")
}
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"shared"}
INSIDE = PACKAGES & ADMITTED


def imported(package: str) -> set[str]:
    """Packages of the repository that modules of this one import, wherever in the file."""
    found: set[str] = set()
    for path in Path(ROOT, package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
    return found & PACKAGES


def test_what_compose_runs_is_in_it() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    run = set(re.findall(r"python, -m, ([a-z]+)", text))
    assert {"ops", "seed", "gateway"} <= run <= INSIDE


def test_what_only_developers_use_is_not() -> None:
    assert {"demo", "generate", "lab", "monitoring", "tests"}.isdisjoint(ADMITTED)


def test_it_imports_nothing_that_it_lacks() -> None:
    lacking = {name: missing for name in INSIDE if (missing := imported(name) - INSIDE)}
    assert lacking == {}
