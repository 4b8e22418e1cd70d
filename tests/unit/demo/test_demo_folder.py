"""The demo in a folder whose name means something to the programs it starts."""

from pathlib import Path

import pytest
from supervisor.options import ServerOptions

import demo.__main__
from demo.__main__ import Demo


@pytest.mark.parametrize("name", ["my 100% prøjekt", "%(here)s", "a; b", "100%s"])
def test_the_supervisor_reads_the_folder_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    (folder / ".local").mkdir(parents=True)
    monkeypatch.setattr(demo.__main__, "ROOT", folder)
    names = ("GATEWAY", "AUTH", "EVENT", "CONSOLE", "OTLP", "MONGO", "REDIS")
    started = Demo(folder / ".local", {f"{name}_PORT": 1 for name in names})
    options = ServerOptions()
    options.realize(["-c", str(started.configure())])
    assert options.logfile == f"{folder}/.local/supervisord.log"
    for group in options.process_group_configs:
        for process in group.process_configs:
            assert process.directory == str(folder)
            assert process.stdout_logfile == f"{folder}/.local/logs/{process.name}.log"
