"""`make up` names taken ports and misspelt variables before anything starts."""

import json
import socket
import subprocess
import sys
from pathlib import Path

from ops import preflight
from tests.ops.compose_file import resolved
from tests.stack.programs import ROOT
from tests.support.servers import free_port


def check(config: object, *own: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "ops.preflight", *map(str, own)],  # nothing is installed
        input=json.dumps(config), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_a_taken_port_is_named_with_the_variable_that_moves_it() -> None:
    names = {variable: str(free_port()) for variable in preflight.variables().values()}
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
    assert published == set(preflight.variables())


def test_a_misspelt_variable_of_env_is_told() -> None:
    said = preflight.misspelt("GRAFANA_PROT=13000\n export SEED_USER=5\nGATEWAY_PORT=18000\n")
    assert said == [
        "GRAFANA_PROT in .env is read by nothing here: GRAFANA_PORT?",
        "SEED_USER in .env is read by nothing here: SEED_USERS?",
        "GATEWAY_PORT in .env is read by nothing here: GATEWAY_PORTS?",
    ]
    example = (ROOT / ".env.example").read_text()
    for fine in (example, example.replace("#", ""), "COMPOSE_PROFILES=archive\nGRAFANA_PORT=1\n",
                 "# GRAFANA_PROT=13000\nPATH=/bin\nMY_OWN=x\n"):  # fmt: skip
        assert preflight.misspelt(fine) == []


def test_it_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GRAFANA_PROT=13000\n")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "ops.preflight"], input='{"services": {}}', cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "GRAFANA_PROT in .env is read by nothing here: GRAFANA_PORT?\n"
