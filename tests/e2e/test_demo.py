"""The demo as a newcomer runs it: claim with what it prints, kill a program, stop, start again."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lab.processes import DEMO, demo, demo_environment
from seed.client import Client
from tests.support.processes import ended, processes_below
from tests.support.servers import ready
from tests.support.waiting import until


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C: exit 0, and nothing is left."""
    below = set(processes_below(process.pid))
    assert len(below) >= 8  # the supervisor and seven programs
    process.send_signal(signal.SIGINT)
    assert process.wait(45) == 0
    assert not {pid for pid in below if alive(pid)}


def alive(pid: int) -> bool:
    state = ended(["ps", "-p", str(pid), "-o", "stat="]).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.timeout(300)
def test_claim_then_a_kill_then_a_second_start(tmp_path: Path) -> None:
    env = demo_environment(tmp_path / "local", SEED_USERS="20", COLUMNS="20")
    info_file = tmp_path / "local" / "demo.json"
    with demo(env) as (process, info):
        gateway, reward = info["services"]["gateway"], info["example"]["reward_id"]
        assert set(info["accounts"]) == {"USER", "OPERATOR", "AUDITOR", "ADMIN"}

        # the very lines that it prints
        printed = (tmp_path / "local.log").read_text()
        lines = printed[printed.index("TOKEN=") : printed.index("and follow it")]
        shell = ended(["sh", "-c", lines])
        assert "201 Created" in shell.stdout, shell.stdout
        assert "x-request-id" in shell.stdout.lower()
        claim = json.loads(shell.stdout[shell.stdout.index("\n\n") :])
        assert (claim["status"], claim["reward_id"]) == ("approved", reward)

        # a killed program comes back
        victim = _pid_of("event", process.pid)
        os.kill(victim, signal.SIGKILL)
        until(lambda: not alive(victim))
        until(lambda: ready(info["services"]["event"]), 60, "event after a kill")

        assert (tmp_path / "local/secrets/signing_key.pem").stat().st_mode & 0o077 == 0
        assert info_file.stat().st_mode & 0o077 == 0
        stop(process)
    assert not info_file.exists()

    began = time.monotonic()
    with demo(env) as (process, again):
        assert time.monotonic() - began < 60  # 10 s on a machine that does nothing else
        assert again["accounts"] == info["accounts"]
        assert again["example"]["reward_id"] != reward, "USER has that one: the example is new"
        api = Client(gateway)
        token = api.token(info["accounts"]["USER"])
        assert api.call("GET", f"/reward-requests/{claim['id']}", token) == claim
        other = ended(DEMO, env=env)
        assert other.returncode == 1
        assert "one is running" in other.stderr
        assert info_file.exists()

        # killed, it can clean up nothing: the next start does
        below = set(processes_below(process.pid))
        process.kill()
        process.wait()
        assert any(alive(pid) for pid in below)
        nonsense = {**env, "EVENT_PORT": "http"}
        other = ended(DEMO, env=nonsense)
        assert other.returncode == 1
        assert not {pid for pid in below if alive(pid)}
        assert not info_file.exists()


def test_taken_or_nonsensical_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for value, said in ((port, f"port {port} is taken"), ("http", "EVENT_PORT is no port")):
            done = ended(DEMO, env=demo_environment(tmp_path, EVENT_PORT=value))
            assert done.returncode == 1
            assert said in done.stderr
            assert "EVENT_PORT" in done.stderr
            assert "Traceback" not in done.stderr
            assert done.stdout == ""


def _pid_of(service: str, demo: int) -> int:
    below = processes_below(demo)
    return next(pid for pid, args in below.items() if args.endswith(f"-m {service}"))
