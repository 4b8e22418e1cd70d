"""No client inside the platform goes through a proxy that the environment names.

Docker's client writes HTTP_PROXY into every container when its settings have one; services that
asked each other through it would not find each other.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROOMS = ("gateway", "auth", "event", "shared", "console", "ops", "demo", "seed")
CLIENTS = {"AsyncClient", "Client", "get", "post", "put", "patch", "delete", "request", "stream"}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Calls of a module's attribute, such as `httpx.get`, by that name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("room", ROOMS)
def test_clients_do_not_read_the_environment(room: str) -> None:
    found = 0
    for file in (ROOT / room).rglob("*.py"):
        if "plainview" in file.parts:
            continue
        for name, call in calls(file):
            where = f"{file.relative_to(ROOT)}:{call.lineno}"
            assert name != "urllib.request.urlopen", f"{where}: use an opener without proxies"
            if name.startswith("httpx.") and name.removeprefix("httpx.") in CLIENTS:
                found += 1
                options = {each.arg: ast.unparse(each.value) for each in call.keywords}
                assert options.get("trust_env") == "False", f"{where}: {name} reads proxy variables"
    assert found or room in ("auth", "shared")
