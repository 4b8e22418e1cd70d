"""`make up` names taken ports before anything starts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from ops import ports
from tests.ops.compose_file import resolved
from tests.stack.programs import ROOT
from tests.support.servers import free_port


def check(config: object, *own: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "ops.ports", *map(str, own)],  # nothing is installed
        input=json.dumps(config), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_a_taken_port_is_named_with_the_variable_that_moves_it() -> None:
    names = {variable: str(free_port()) for variable in ports.variables().values()}
    config = resolved(**names)
    assert check(config) == (0, "")
    with socket.create_server(("127.0.0.1", int(names["GRAFANA_PORT"]))) as server:
        taken = server.getsockname()[1]
        code, said = check(config)
        assert code == 1
        assert said.startswith(f"port {taken} is taken, grafana needs it: ")
        assert f"GRAFANA_PORT={taken + 10_000} into .env" in said
        assert check(config, taken) == (0, "")  # the stack's own: it runs


def test_every_published_port_can_be_moved() -> None:
    config = resolved("--profile", "*")
    published = {
        port["target"] for s in config["services"].values() for port in s.get("ports") or []
    }
    assert published == set(ports.variables())
