"""Make the random secrets of the compose stack, each readable by the one user that needs it.

`make DIR` writes what is missing and leaves what is there, so a restart keeps passwords.
`show DIR` prints what a person signs in with.
"""

import json
import os
import secrets
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

OWNERS = {  # directory: user ID of the container that reads it (docker-compose.yml)
    "gateway": 10001,
    "auth": 10002,
    "event": 10003,
    "console": 10004,
    "seeder": 10005,
    "exporter": 10006,
    "mongo": 999,
    "redis": 999,
    "grafana": 472,
}
MONGO_USERS = ("root", "auth", "event", "seeder", "exporter")
REDIS_CONFIG = """\
requirepass {password}
appendonly yes
appendfsync everysec
maxmemory 64mb
maxmemory-policy noeviction
dir /data
"""


def write(path: Path, text: str) -> None:
    """Put a secret where only its owner reads it; a file that exists stays."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o400)
    owner = OWNERS[path.parent.name]
    if os.geteuid() == 0:
        os.chown(path.parent, owner, owner)
        os.chown(draft, owner, owner)
    draft.rename(path)


def password(path: Path) -> str:
    """Return the secret in `path`, made now if there is none yet."""
    write(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def new_signing_key() -> str:
    """An Ed25519 private key in PEM form."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def make(root: Path) -> None:
    """Write every secret that `root` lacks."""
    root.mkdir(parents=True, exist_ok=True)
    mongo = {user: password(root / "mongo" / f"{user}_password") for user in MONGO_USERS}
    redis = password(root / "redis" / "password")
    write(root / "redis" / "redis.conf", REDIS_CONFIG.format(password=redis))
    hash_key = password(root / "gateway" / "user_hash_key")
    for service in ("gateway", "auth", "event", "seeder"):
        write(root / service / "redis_url", f"redis://:{redis}@redis:6379/0")
        write(root / service / "user_hash_key", hash_key)  # one key: pseudonyms match

    def mongo_url(user: str, database: str) -> str:
        return f"mongodb://{user}:{mongo[user]}@mongo:27017/{database}?authSource=admin"

    write(root / "auth" / "mongo_url", mongo_url("auth", "event_rewards_auth"))
    write(root / "event" / "mongo_url", mongo_url("event", "event_rewards_event"))
    write(root / "seeder" / "auth_mongo_url", mongo_url("seeder", "event_rewards_auth"))
    write(root / "seeder" / "event_mongo_url", mongo_url("seeder", "event_rewards_event"))
    write(root / "exporter" / "mongo_url", mongo_url("exporter", "admin"))
    passwords = json.dumps({"redis://redis:6379": redis})
    write(root / "exporter" / "redis_passwords.json", passwords)
    write(root / "auth" / "signing_key", new_signing_key())
    password(root / "grafana" / "admin_password")
    password(root / "console" / "token")


def show(root: Path) -> None:
    """Print the two passwords a person needs."""
    print(f"Grafana  admin / {(root / 'grafana' / 'admin_password').read_text()}")
    print(f"Console  token   {(root / 'console' / 'token').read_text()}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", directory]:
            make(Path(directory))
        case ["show", directory]:
            show(Path(directory))
        case _:
            sys.exit("usage: python -m ops.secrets make|show DIRECTORY")
