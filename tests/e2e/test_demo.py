"""The demo as a newcomer runs it: claim with what it prints, kill a program, stop, start again."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.demo import DEMO, environment, running
from tests.support.processes import ended, processes_below
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


def login(info: dict[str, Any], role: str) -> dict[str, str]:
    url = f"{info['services']['gateway']}/api/v1/auth/login"
    reply = httpx.post(url, json=info["accounts"][role])
    return {"Authorization": f"Bearer {reply.raise_for_status().json()['access_token']}"}


@pytest.mark.timeout(300)
def test_claim_then_a_kill_then_a_second_start(tmp_path: Path) -> None:
    env = environment(tmp_path / "local")
    info_file = tmp_path / "local" / "demo.json"
    with running(env, tmp_path / "first") as process:
        info = json.loads(info_file.read_text())
        gateway, reward = info["services"]["gateway"], info["example"]["reward_id"]
        assert set(info["accounts"]) == {"USER", "OPERATOR", "AUDITOR", "ADMIN"}

        # the very lines that it prints
        printed = (tmp_path / "first").read_text()
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
        ready = f"{info['services']['event']}/health/ready"
        until(lambda: _status(ready) == 200, 60, "event after a kill")

        assert (tmp_path / "local/secrets/signing_key.pem").stat().st_mode & 0o077 == 0
        assert info_file.stat().st_mode & 0o077 == 0
        stop(process)
    assert not info_file.exists()

    began = time.monotonic()
    with running(env, tmp_path / "second") as process:
        assert time.monotonic() - began < 60  # 10 s on a machine that does nothing else
        again = json.loads(info_file.read_text())
        assert again["accounts"] == info["accounts"]
        assert again["example"]["reward_id"] != reward, "USER has that one: the example is new"
        kept = httpx.get(
            f"{gateway}/api/v1/reward-requests/{claim['id']}", headers=login(info, "USER")
        )
        assert kept.json() == claim
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
            env = environment(tmp_path, EVENT_PORT=value)
            done = ended(DEMO, env=env)
            assert done.returncode == 1
            assert said in done.stderr
            assert "EVENT_PORT" in done.stderr
            assert "Traceback" not in done.stderr
            assert done.stdout == ""


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=1).status_code
    except httpx.TransportError:
        return 0


def _pid_of(service: str, demo: int) -> int:
    below = processes_below(demo)
    return next(pid for pid, args in below.items() if args.endswith(f"-m {service}"))
