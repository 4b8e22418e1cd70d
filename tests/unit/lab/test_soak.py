"""What the soak says of a process that was away."""

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

from lab import soak

IGNORING = "import signal; signal.signal(signal.SIGUSR2, signal.SIG_IGN); print(1); input()"


async def test_who_is_not_there_is_neither_measured_nor_signalled(monkeypatch):
    monkeypatch.setattr(soak, "READINGS", 1)
    monkeypatch.setattr(soak, "COLLECT_S", 0)
    # a signal for process 0 would come here, as to everybody of the group
    met, gone = [], subprocess.Popen(["true"])
    gone.wait()
    signal.signal(signal.SIGUSR2, lambda *_: met.append(1))
    command = [sys.executable, "-uc", IGNORING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as here:
        assert here.stdout
        here.stdout.readline()
        pids = {"gateway": here.pid, "auth": 0, "event": gone.pid, "console": os.getpid()}
        found = await soak.memory_mib(SimpleNamespace(pid=pids.__getitem__))
        here.kill()
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    assert {*found} == {"gateway", "console"}
    assert min(found.values()) > 1
    assert met == [1]


def test_who_was_away_at_one_time_has_missed(monkeypatch, tmp_path, capsys):
    async def soaked(*_):
        all_of = dict.fromkeys(soak.BOUNDS_MIB, 50.0)
        return {**all_of}, {name: mib for name, mib in all_of.items() if name != "auth"}, Counter()

    monkeypatch.setattr(soak, "ROOT", tmp_path)
    monkeypatch.setattr(soak, "Demo", lambda _: None)
    monkeypatch.setattr(soak, "soak", soaked)
    monkeypatch.setattr(soak, "demo", lambda _: contextlib.nullcontext((None, {})))
    monkeypatch.setattr(sys, "argv", ["soak"])
    assert soak.main() == 1
    said = capsys.readouterr().out
    assert "auth       was not there at both times: MISSES" in said
    assert said.count("holds") == len(soak.BOUNDS_MIB) - 1
