"""Processes of this machine: who descends from whom, and how all of a command's are ended.

As a program it runs a command for a bounded time and leaves none of its processes behind:

    python -m tests.support.processes SECONDS COMMAND ...

The exit code is the command's, 124 when its time was over.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
INTERRUPTED = 130
TIME_OVER = 124  # as coreutils' timeout says it
GRACE_S = 20  # for fixtures to be torn down


def processes_below(pid: int) -> dict[int, str]:
    """The commands of all descendants that have not ended, by process ID."""
    command = ["ps", "-wweo", "pid=,ppid=,stat=,args="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ps:
        rows = [line.split(maxsplit=3) for line in ps.communicate()[0].splitlines()]
    known = {int(row[0]): (int(row[1]), row[3]) for row in rows if row[2][0] != "Z"}
    known.pop(ps.pid, None)
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        children = {each: args for each, (parent, args) in known.items() if parent in parents}
        found |= children
        parents = set(children)
    return found


def ended(
    command: Sequence[str | Path], timeout_s: float = 100, **more: Any
) -> subprocess.CompletedProcess[str]:
    """A command in the repository's folder, with what it said, whatever its exit code."""
    options = {"cwd": ROOT, "timeout": timeout_s, **more}
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def python(
    code: str, *words: str, timeout_s: float = 60, cwd: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A program that can import the library; what tests set for OpenTelemetry it does not see."""
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("OTEL_")},
        "PYTHONPATH": str(ROOT / "shared/observability"),
        "PLAINVIEW_STRICT": "0",
        **variables,
    }
    return ended([sys.executable, "-c", code, *words], timeout_s, cwd=cwd, env=environment)


def end_below(how: signal.Signals, wait_s: float) -> None:
    """Send a signal to every descendant of this process and wait for all of them to end."""
    deadline = time.monotonic() + wait_s
    for pid in processes_below(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
    while processes_below(os.getpid()) and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.1)


def run(seconds: float, command: list[str]) -> int:
    """Run it; whoever loses a parent below becomes a child of this process (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    process = subprocess.Popen(command)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        _say(f"not done after {seconds:.0f} s: {' '.join(command)}")
        end_below(signal.SIGTERM, GRACE_S)
        return TIME_OVER
    except KeyboardInterrupt:
        end_below(signal.SIGTERM, GRACE_S)
        return INTERRUPTED
    finally:
        for args in processes_below(os.getpid()).values():
            _say(f"left behind, ended: {args[:120]}")
        end_below(signal.SIGTERM, 3)
        end_below(signal.SIGKILL, 10)


def _say(text: str) -> None:
    sys.stdout.write(f"--- {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]), sys.argv[2:]))
