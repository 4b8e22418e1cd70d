"""MongoDB's users: one of least right for each program, with the passwords of now.

Runs at every start and repeats without harm. It shares MongoDB's network, because MongoDB lets a
client from 127.0.0.1 make the first user while there is none: so it does not matter when an
earlier start was cut off.

Usage: python -m ops.mongo_users SECRETS [HOST:PORT]
"""

import os
import sys
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from ops.secrets import FORMER_ROOT, read

AUTH, EVENT = "event_rewards_auth", "event_rewards_event"
ROLES: dict[str, list[dict[str, str]]] = {
    "auth": [{"role": "readWrite", "db": AUTH}],
    "event": [{"role": "readWrite", "db": EVENT}],
    "seeder": [{"role": "readWrite", "db": AUTH}, {"role": "readWrite", "db": EVENT}],
    "exporter": [{"role": "clusterMonitor", "db": "admin"}, {"role": "read", "db": "local"}],
}
ROOT_ROLES = [{"role": "root", "db": "admin"}]
AUTHENTICATION_FAILED, UNAUTHORIZED = 18, 13
LOCKED_OUT = (
    "MongoDB has users, and none of the passwords in the volume `secrets` is root's. Put the right "
    'one there (docs/operations.md, "MongoDB\'s root password is lost") and start again:\n'
    "  docker compose run --rm -T vault sh -c 'cat > /secrets/mongo/root_password.former'"
)


class LockedOutError(Exception):
    """Nobody can sign in as root, and MongoDB takes no first user."""


def client(address: str, password: str | None) -> MongoClient[dict[str, Any]]:
    """Connect as root, or as nobody."""
    return MongoClient(
        f"mongodb://{address}",
        username="root" if password else None,
        password=password or None,
        authSource="admin",
        directConnection=True,
        serverSelectionTimeoutMS=20_000,
    )


def signs_in(address: str, password: str) -> bool:
    """Whether root has this password."""
    with client(address, password) as mongo:
        try:
            mongo.admin.command("usersInfo", "root")
        except OperationFailure as error:
            if error.code == AUTHENTICATION_FAILED:
                return False
            raise
    return True


def make_root(address: str, password: str) -> None:
    """Make the first user; LockedOutError if MongoDB has users already."""
    with client(address, None) as mongo:
        try:
            mongo.admin.command("createUser", "root", pwd=password, roles=ROOT_ROLES)
        except OperationFailure as error:
            if error.code in (AUTHENTICATION_FAILED, UNAUTHORIZED):
                raise LockedOutError(LOCKED_OUT) from error
            raise


def bring_up_to_date(root: Path, address: str) -> list[str]:
    """Make or change every user; the names of those made."""
    password = read(root, "mongo/root_password")
    former = read(root, FORMER_ROOT).splitlines()
    made: list[str] = []
    held = next((each for each in (password, *former) if signs_in(address, each)), None)
    if held is None:
        make_root(address, password)
        made.append("root")
        held = password
    with client(address, held) as mongo:
        for user, roles in ROLES.items():
            known = mongo.admin.command("usersInfo", user)["users"]
            command = "updateUser" if known else "createUser"
            own = read(root, f"mongo/{user}_password")
            mongo.admin.command(command, user, pwd=own, roles=roles)
            if not known:
                made.append(user)
        if held != password:
            mongo.admin.command("updateUser", "root", pwd=password)
    if former and os.access((root / FORMER_ROOT).parent, os.W_OK):  # not as a mounted Secret
        (root / FORMER_ROOT).unlink()  # no other one is needed any more
    return made


def main(arguments: list[str]) -> str | int:
    """0, or what is wrong."""
    root, address = Path(arguments[0]), (arguments[1:] or ["127.0.0.1:27017"])[0]
    try:
        made = bring_up_to_date(root, address)
    except LockedOutError as error:
        return str(error)
    except PyMongoError as error:
        return f"MongoDB's users could not be made: {error}"
    print(f"MongoDB's users are up to date, made: {', '.join(made) or 'none'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
