"""The load test against real processes: it passes, and it fails when a threshold is missed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from shared.tokens import Role
from tests.support.processes import ended
from tests.support.trio import Trio


@pytest.fixture(scope="module")
def operator(trio: Trio, mongo_url: str) -> dict[str, str]:
    """An account that is an operator."""
    account = trio.register()
    with MongoClient[dict[str, Any]](mongo_url) as mongo:
        users = mongo[trio.auth.environment["MONGO_DATABASE"]].users
        users.update_one({"email": account["email"]}, {"$set": {"roles": ["OPERATOR"]}})
    return account


def load(
    trio: Trio, operator: dict[str, str], directory: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.load", "--headless", "--host", trio.url]
    environment = {
        "PATH": os.environ["PATH"],
        "LOAD_DIRECTORY": str(directory),
        "LOAD_OPERATOR_EMAIL": operator["email"],
        "LOAD_OPERATOR_PASSWORD": operator["password"],
    }
    return ended([*command, *arguments], env=environment)


def test_passes_and_measures_every_kind(
    trio: Trio, operator: dict[str, str], tmp_path: Path
) -> None:
    generous = [f"--p95={kind}=10" for kind in ("read", "write", "claim", "sign-in")]
    done = load(trio, operator, tmp_path, "--duration", "6", "--users", "8", *generous)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line[:18].strip(): line[18:].split() for line in done.stdout.splitlines()}
    for step in ("list events", "own requests", "pending requests", "join", "decide", "claim"):
        assert int(rows[step][0]) > 0, done.stdout
    assert rows["claim"][1] == "0"
    assert "refresh" not in rows  # tokens of the preparation last
    assert (tmp_path / "load.json").stat().st_mode & 0o077 == 0
    with trio.client("anybody", Role.OPERATOR) as http:
        events = http.get("/events?limit=50").json()["items"]
    own = [event for event in events if event["title"].startswith("Load test")]
    assert own
    assert {event["status"] for event in own} == {"closed"}


def test_fails_by_an_impossible_threshold(
    trio: Trio, operator: dict[str, str], tmp_path: Path
) -> None:
    done = load(
        trio, operator, tmp_path, "--duration", "5", "--users", "3", "--p95", "claim=0.0001"
    )
    assert done.returncode == 1
    (failed,) = (line for line in done.stdout.splitlines() if line.endswith("FAILED"))
    assert failed.startswith("P95 claim")


def test_says_what_to_start(tmp_path: Path, unused_tcp_port: int) -> None:
    arguments = ["--headless", "--host", f"http://127.0.0.1:{unused_tcp_port}"]
    done = ended([sys.executable, "-m", "lab.load", *arguments])
    assert done.returncode == 2
    assert "make demo" in done.stderr
