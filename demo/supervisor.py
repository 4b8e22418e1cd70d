"""The configuration of the supervisor that runs and restarts the demo's programs."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.machine import CONTROL
from ops.files import write_private

SOCKET_PATH = 90  # macOS takes 104 bytes, and supervisor adds a suffix
HEAD = """\
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
"""
# A socket file for its owner only, by which programs are stopped.
SOCKET = """\
[unix_http_server]
file={socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """\
[program:{name}]
command={command}
directory={root}
priority={number}
autorestart=true
startretries=1000
stopwaitsecs=15
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def configure(
    directory: Path, root: Path, programs: Mapping[str, Sequence[str]], ports: Mapping[str, int]
) -> Path:
    """Write the configuration: each program with its log file, and its port if it has one."""
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    text = HEAD.format(folder=_value(directory))
    # With a longer path only the lab, which stops programs, has to do without the socket.
    if len(socket := str(directory / CONTROL)) < SOCKET_PATH:
        text += SOCKET.format(socket=_value(socket))
    for number, (name, command) in enumerate(programs.items()):
        text += PROGRAM.format(
            name=name,
            command=_value(shlex.join(command)),
            root=_value(root),
            number=number,
            logs=_value(_value(logs)),  # supervisor expands this value twice
        )
        if port := ports.get(f"{name.upper()}_PORT"):
            text += f'environment=PORT="{port}"\n'
    path = directory / "supervisord.conf"
    write_private(path, text)
    return path


def _value(text: object) -> str:
    """A value of the configuration, in which supervisor expands what follows a percent sign."""
    return str(text).replace("%", "%%")
