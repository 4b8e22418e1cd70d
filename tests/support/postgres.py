"""A PostgreSQL of the machine, if there is one: the library's tests then run on it too."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.support.servers import Server

INITDB, POSTGRES = shutil.which("initdb"), shutil.which("postgres")
PASSWORD = "hunter2-c4n4ry"


class PostgreSQL(Server):
    """With a password, which initdb writes into its folder; it refuses to run as root."""

    name = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://shop:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        assert POSTGRES
        quick = ("-c", "fsync=off", "-c", "unix_socket_directories=")
        return [POSTGRES, "-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", *quick]

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> Self:
        self.options = {"cwd": self.directory}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self.options |= {"user": nobody.pw_uid, "group": nobody.pw_gid}
        if not self.data.exists():
            assert INITDB
            secret = self.directory / "password"
            secret.write_text(PASSWORD)
            made = ["-A", "scram-sha-256", "-U", "shop", "--pwfile", str(secret), "-N"]
            command = [INITDB, "-D", str(self.data), *made]
            subprocess.run(command, check=True, capture_output=True, timeout=60, **self.options)
        return super().start()
