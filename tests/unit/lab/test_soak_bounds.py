"""What the soak says of a process that was away."""

import contextlib
import os
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

from lab import soak


async def test_who_is_not_there_is_neither_measured_nor_signalled(monkeypatch):
    signalled = []

    def kill(pid, _):
        signalled.append(pid)
        if pid == gone.pid:
            raise ProcessLookupError

    with subprocess.Popen(["true"]) as gone:
        pass
    monkeypatch.setattr(soak, "READINGS", 1)
    monkeypatch.setattr(soak, "COLLECT_S", 0)
    monkeypatch.setattr(soak.os, "kill", kill)  # for process 0 it would come to all of the group
    pids = {"gateway": os.getpid(), "auth": 0, "event": gone.pid, "console": 0}
    found = await soak.memory_mib(SimpleNamespace(pid=pids.__getitem__))
    assert signalled == [os.getpid(), gone.pid]
    assert {*found} == {("gateway", os.getpid())}
    assert found["gateway", os.getpid()] > 1


def test_who_was_away_or_restarted_has_missed(monkeypatch, tmp_path, capsys):
    async def soaked(*_):
        before = {(name, 7): 50.0 for name in soak.BOUNDS_MIB}
        after = {key: mib for key, mib in before.items() if key[0] not in ("auth", "event")}
        return before, {**after, ("event", 8): 20.0}, Counter()

    monkeypatch.setattr(soak, "ROOT", tmp_path)
    monkeypatch.setattr(soak, "Demo", lambda _: None)
    monkeypatch.setattr(soak, "soak", soaked)
    monkeypatch.setattr(soak, "demo", lambda _: contextlib.nullcontext((None, {})))
    monkeypatch.setattr(sys, "argv", ["soak"])
    assert soak.main() == 1
    said = capsys.readouterr().out
    assert "auth       was not the same process at both times: MISSES" in said
    assert "event      was not the same process at both times: MISSES" in said
    assert said.count("holds") == len(soak.BOUNDS_MIB) - 2
