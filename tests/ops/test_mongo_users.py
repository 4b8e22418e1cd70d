"""MongoDB's users by FerretDB, which signs in as MongoDB does; its health check by nx-27017."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from ops import mongo_users, secrets
from tests.ops.checks import program
from tests.ops.compose_file import SERVICES
from tests.support.servers import EmbeddedMongo, Server

FIRST = "the first password of root"


class Ferret(Server):
    """FerretDB with one user, root, as MongoDB has after its first start."""

    name = "ferretdb"

    def command(self) -> list[str]:
        return [
            program("ferretdb"), "--handler=sqlite", f"--sqlite-url=file:{self.directory}/",
            f"--state-dir={self.directory}", f"--listen-addr=127.0.0.1:{self.port}",
            "--debug-addr=-", "--telemetry=disable", "--test-enable-new-auth",
            "--setup-database=admin", "--setup-username=root", f"--setup-password={FIRST}",
        ]  # fmt: skip


@pytest.fixture
def ferret() -> Iterator[str]:
    program("ferretdb")
    with Ferret() as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(autouse=True)
def _no_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """FerretDB knows no roles."""
    monkeypatch.setattr(mongo_users, "ROLES", {user: [] for user in mongo_users.ROLES})


def signs_in(address: str, user: str, password: str) -> bool:
    with MongoClient[dict[str, Any]](
        f"mongodb://{address}", username=user, password=password, authSource="admin"
    ) as mongo:
        try:
            mongo.admin.command("usersInfo", user)
        except OperationFailure as error:
            return error.code != mongo_users.AUTHENTICATION_FAILED
    return True


def put(root: Path, name: str, text: str) -> None:
    secrets.write(root, name, text)
    secrets.derive(root)


def test_every_start_brings_users_up_to_date(ferret: str, tmp_path: Path) -> None:
    secrets.make(tmp_path)
    put(tmp_path, "mongo/root_password", FIRST)
    put(tmp_path, "mongo/event_password", "pä$$/w:o@rd #1")
    assert mongo_users.bring_up_to_date(tmp_path, ferret) == ["auth", "event", "seeder", "exporter"]
    for user in ("root", "auth", "event", "seeder", "exporter"):
        assert signs_in(ferret, user, secrets.read(tmp_path, f"mongo/{user}_password"))
    assert mongo_users.bring_up_to_date(tmp_path, ferret) == []

    old = {user: secrets.read(tmp_path, f"mongo/{user}_password") for user in mongo_users.ROLES}
    secrets.rotate(tmp_path)
    secrets.rotate(tmp_path)  # a second time before MongoDB was told of the first
    assert mongo_users.bring_up_to_date(tmp_path, ferret) == []
    for user, password in {**old, "root": FIRST}.items():
        assert not signs_in(ferret, user, password)
        assert signs_in(ferret, user, secrets.read(tmp_path, f"mongo/{user}_password"))
    assert not (tmp_path / secrets.FORMER_ROOT).exists()


def test_secrets_of_a_backup_meet_a_database_with_others(ferret: str, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    secrets.make(there)
    secrets.make(here)
    put(here, "mongo/root_password", FIRST)
    mongo_users.bring_up_to_date(here, ferret)
    secrets.restore(here, secrets.save(there))
    mongo_users.bring_up_to_date(here, ferret)
    for user in ("root", *mongo_users.ROLES):
        assert signs_in(ferret, user, secrets.read(there, f"mongo/{user}_password"))


def test_a_lost_password_is_one_message_with_the_command(ferret: str, tmp_path: Path) -> None:
    secrets.make(tmp_path)
    said = mongo_users.main([str(tmp_path), ferret])
    assert said == mongo_users.LOCKED_OUT
    assert "docker compose run --rm -T vault" in said
    secrets.write(tmp_path, secrets.FORMER_ROOT, f"{FIRST}\n")  # what the command does
    assert mongo_users.main([str(tmp_path), ferret]) == 0
    assert signs_in(ferret, "root", secrets.read(tmp_path, "mongo/root_password"))


def test_a_start_that_was_cut_off_before_root_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody signs in, and MongoDB lets one who comes from 127.0.0.1 make the first user."""
    secrets.make(tmp_path)
    users: dict[str, str] = {}

    class Mongo:
        """MongoDB's rule for the first user; there is no MongoDB here to ask."""

        def __init__(self, _address: str, password: str | None) -> None:
            self.password, self.admin = password, self

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def command(self, name: str, user: str, pwd: str = "", roles: object = None) -> Any:
            if self.password is None and users:
                raise OperationFailure("not authorized", mongo_users.UNAUTHORIZED)
            if self.password is not None and users.get("root") != self.password:
                raise OperationFailure("failed", mongo_users.AUTHENTICATION_FAILED)
            if name == "usersInfo":
                return {"users": [user] if user in users else []}
            assert name == ("updateUser" if user in users else "createUser")
            if user == "root":
                assert roles == mongo_users.ROOT_ROLES
            users[user] = pwd
            return {"ok": 1}

    monkeypatch.setattr(mongo_users, "client", Mongo)
    assert mongo_users.bring_up_to_date(tmp_path, "127.0.0.1:27017")[0] == "root"
    assert users == {
        user: secrets.read(tmp_path, f"mongo/{user}_password")
        for user in ("root", *mongo_users.ROLES)
    }
    assert mongo_users.bring_up_to_date(tmp_path, "127.0.0.1:27017") == []


def well(hostname: str, port: int) -> bool:
    """Run compose's health check against a server on this port."""
    check = SERVICES["mongo"]["healthcheck"]["test"]
    script = check[-1].replace("$$", "$").replace("/27017", f"/{port}")
    done = subprocess.run(
        ["timeout", "5", check[1], "-c", script],
        env={**os.environ, "HOSTNAME": hostname}, capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


def test_the_health_check_asks_where_others_do() -> None:
    class Everywhere(EmbeddedMongo):
        def command(self) -> list[str]:
            return [word.replace("127.0.0.1", "0.0.0.0") for word in super().command()]

    with Everywhere() as server:
        assert well("127.0.0.2", server.port)
        server.pause()
        assert not well("127.0.0.2", server.port)  # the kernel still takes connections
        server.resume()
    with EmbeddedMongo() as preparing:  # listens on 127.0.0.1 alone
        assert well("127.0.0.1", preparing.port)
        assert not well("127.0.0.2", preparing.port)
    assert not well("127.0.0.1", preparing.port)
