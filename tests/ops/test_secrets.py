"""The secrets of the compose stack: made once, for any password; saved, restored, rotated."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis

from ops import secrets, setup
from tests.stack.programs import ROOT
from tests.support.servers import EmbeddedValkey, valkey_command

AWKWARD = "pä$$ w/o:rd@#1?%\"'\\ {x}"


def files(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_what_is_read_is_made_and_stays(tmp_path: Path) -> None:
    secrets.make(tmp_path)
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Makefile").read_text()
    read = set(re.findall(r"/secrets/([a-z]+/[a-z_.]+)", text))
    assert read <= set(files(tmp_path)), read - set(files(tmp_path))
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*/*"))
    made = files(tmp_path)
    secrets.make(tmp_path)
    assert files(tmp_path) == made


def put(root: Path, name: str) -> None:
    """A password of one's own."""
    (root / name).chmod(0o600)
    (root / name).write_text(AWKWARD + "\n")
    secrets.make(root)


def test_a_password_of_ones_own_reaches_all_that_is_derived(tmp_path: Path) -> None:
    secrets.make(tmp_path)
    for name in ("mongo/auth_password", "mongo/root_password", "redis/password"):
        put(tmp_path, name)
    url = urlsplit((tmp_path / "auth/mongo_url").read_text())
    assert (url.username, unquote(url.password or ""), url.hostname) == ("auth", AWKWARD, "mongo")
    url = urlsplit((tmp_path / "gateway/redis_url").read_text())
    assert (unquote(url.password or ""), url.hostname) == (AWKWARD, "redis")
    assert json.loads((tmp_path / "mongo/tools.yaml").read_text()) == {"password": AWKWARD}
    exporter = json.loads((tmp_path / "exporter/redis_passwords.json").read_text())
    assert exporter == {"redis://redis:6379": AWKWARD}


def test_redis_takes_any_password_out_of_its_configuration(tmp_path: Path) -> None:
    secrets.make(tmp_path)
    put(tmp_path, "redis/password")
    config = (tmp_path / "redis/redis.conf").read_text().replace("dir /data", f"dir {tmp_path}")
    (tmp_path / "own.conf").write_text(config)

    class Configured(EmbeddedValkey):
        def command(self) -> list[str]:
            program, *flags = valkey_command(self.port, self.directory)
            return [program, str(tmp_path / "own.conf"), *flags]

        def answers(self) -> bool:
            try:
                client = redis.Redis(port=self.port, password=AWKWARD, socket_timeout=1)
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    with Configured() as server:
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port).ping()
        assert redis.Redis(port=server.port, password=AWKWARD).config_get("maxmemory") == {
            "maxmemory": str(64 * 2**20)
        }


def test_rotation_changes_every_secret(tmp_path: Path) -> None:
    secrets.make(tmp_path)
    old = files(tmp_path)
    secrets.rotate(tmp_path)
    new = files(tmp_path)
    assert set(new) - set(old) == {secrets.FORMER_ROOT}
    assert {name for name in old if new[name] == old[name]} == set()
    assert new[secrets.FORMER_ROOT] == old["mongo/root_password"]
    assert new[secrets.PREVIOUS_KEY] == secrets.public_key(old[secrets.SIGNING_KEY])
    secrets.rotate(tmp_path)  # before MongoDB has been told of the first one
    assert files(tmp_path)[secrets.FORMER_ROOT].split() == [
        new["mongo/root_password"],
        old["mongo/root_password"],
    ]


def command(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "ops.secrets", *arguments],
        input=stdin, cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip


def test_saved_and_restored_elsewhere(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    secrets.make(there)
    put(there, "mongo/event_password")
    secrets.make(here)
    before = files(here)["mongo/root_password"]
    archive = command("save", str(there))
    assert archive.returncode == 0
    restored = command("restore", str(here), stdin=archive.stdout)
    assert restored.returncode == 0, restored.stderr
    assert files(here) == {**files(there), secrets.FORMER_ROOT: before}


def test_an_archive_of_the_whole_volume_restores_too(tmp_path: Path) -> None:
    """As the documentation of earlier versions had it: `tar -C /s -cf - .`."""
    there, here = tmp_path / "there", tmp_path / "here"
    secrets.make(there)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(there, ".", filter=lambda i: None if "previous_keys" in i.name else i)
    secrets.restore(here, archive.getvalue())
    assert files(here) == files(there)


@pytest.mark.parametrize("archive", [b"", b"no archive", b"\0" * 10_240])
def test_what_is_no_archive_changes_nothing(tmp_path: Path, archive: bytes) -> None:
    secrets.make(tmp_path)
    before = files(tmp_path)
    done = command("restore", str(tmp_path), stdin=archive)
    assert done.returncode == 1
    assert done.stderr.startswith(b"nothing was restored: ")
    assert files(tmp_path) == before


def test_configuration_is_handed_out_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "grafana/dashboards").mkdir(parents=True)
    (source / "grafana/dashboards/a.json").write_text("{}")
    (source / "loki.yaml").write_text("new")
    for path in (source, *source.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    (target / "gone").mkdir(parents=True)
    (target / "gone/old.yaml").write_text("")
    (target / "loki.yaml").write_text("old")
    old = os.umask(0o077)
    try:
        setup.copy(source, target)
    finally:
        os.umask(old)
    assert files(target) == files(source)
    assert not (target / "gone").exists()
    for path in (target, *target.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
