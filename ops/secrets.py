"""The secrets of the compose stack: made once, each readable by the one user that needs it.

    python -m ops.secrets make DIR      write what is missing, leave what is there
    python -m ops.secrets rotate DIR    write new ones for all
    python -m ops.secrets save DIR      a tar archive of all on standard output
    python -m ops.secrets restore DIR   take them over from such an archive on standard input
    python -m ops.secrets kubernetes DIR    write what is missing; all as Secrets on standard output

A directory per reader holds the secrets themselves and what is derived from them (addresses with a
password inside, a configuration). What is derived is written anew each time, so a password of your
own goes into its file and nowhere else.
"""

import io
import json
import os
import secrets
import sys
import tarfile
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

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
PASSWORDS = (  # the random ones, all of one form
    *(f"mongo/{user}_password" for user in MONGO_USERS),
    "redis/password",
    "gateway/user_hash_key",
    "grafana/admin_password",
    "console/token",
)
SIGNING_KEY = "auth/signing_key"
PREVIOUS_KEY = "auth/previous_keys"  # the public key before the last rotation, or empty
FORMER_ROOT = "mongo/root_password.former"  # what MongoDB may still hold, one a line, newest first
REDIS_CONFIG = """\
requirepass {password}
appendonly yes
appendfsync everysec
maxmemory 64mb
maxmemory-policy noeviction
dir /data
"""


def write(root: Path, name: str, text: str) -> None:
    """Put a secret where only its owner reads it, whole or not at all."""
    path = root / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o400)
    draft.chmod(0o600)
    draft.write_text(text)
    draft.chmod(0o400)
    if os.geteuid() == 0:
        owner = OWNERS[path.parent.name]
        os.chown(path.parent, owner, owner)
        os.chown(draft, owner, owner)
    draft.rename(path)


def read(root: Path, name: str) -> str:
    """Return the secret without the line end that an editor leaves; empty if there is none."""
    path = root / name
    return path.read_text().strip("\r\n") if path.exists() else ""


def new_signing_key() -> str:
    """An Ed25519 private key in PEM form."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_key(pem: str) -> str:
    """The public half of a private key, both in PEM form."""
    key = load_pem_private_key(pem.encode(), None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def quoted(text: str) -> str:
    """A string as redis.conf writes it: no character of a password ends it or starts a comment."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def make(root: Path) -> None:
    """Write every secret that `root` lacks, then what is derived from them."""
    root.mkdir(parents=True, exist_ok=True)
    for name in PASSWORDS:
        if not read(root, name):
            write(root, name, secrets.token_urlsafe(24))
    if not read(root, SIGNING_KEY):
        write(root, SIGNING_KEY, new_signing_key())
    if not (root / PREVIOUS_KEY).exists():
        write(root, PREVIOUS_KEY, "")
    derive(root)


def derive(root: Path) -> None:
    """Write addresses and configurations that carry a password."""
    redis = read(root, "redis/password")
    hash_key = read(root, "gateway/user_hash_key")
    write(root, "redis/redis.conf", REDIS_CONFIG.format(password=quoted(redis)))
    for service in ("gateway", "auth", "event", "seeder"):
        write(root, f"{service}/redis_url", f"redis://:{quote(redis, safe='')}@redis:6379/0")
        if service != "gateway":
            write(root, f"{service}/user_hash_key", hash_key)  # one key: their pseudonyms match

    def mongo_url(user: str, database: str) -> str:
        password = quote(read(root, f"mongo/{user}_password"), safe="")
        return f"mongodb://{user}:{password}@mongo:27017/{database}?authSource=admin"

    write(root, "auth/mongo_url", mongo_url("auth", "event_rewards_auth"))
    write(root, "event/mongo_url", mongo_url("event", "event_rewards_event"))
    write(root, "seeder/auth_mongo_url", mongo_url("seeder", "event_rewards_auth"))
    write(root, "seeder/event_mongo_url", mongo_url("seeder", "event_rewards_event"))
    write(root, "exporter/mongo_url", mongo_url("exporter", "admin"))
    write(root, "exporter/redis_passwords.json", json.dumps({"redis://redis:6379": redis}))
    # JSON is YAML, in which any password can be written: --config of mongodump and mongorestore
    tools = {"password": read(root, "mongo/root_password")}
    write(root, "mongo/tools.yaml", json.dumps(tools))


def remember_root(root: Path, password: str) -> None:
    """MongoDB holds this password until ops.mongo_users has changed it there."""
    if password:
        former = read(root, FORMER_ROOT).splitlines()
        write(root, FORMER_ROOT, "\n".join([password, *former]))


def rotate(root: Path) -> None:
    """Write new secrets for all; the services have to be started anew.

    Tokens of the old signing key stay valid (an access token lives five minutes). Pseudonyms of
    users in logs are others from now on.
    """
    make(root)
    remember_root(root, read(root, "mongo/root_password"))
    write(root, PREVIOUS_KEY, public_key(read(root, SIGNING_KEY)))
    for name in PASSWORDS:
        write(root, name, secrets.token_urlsafe(24))
    write(root, SIGNING_KEY, new_signing_key())
    derive(root)


def save(root: Path) -> bytes:
    """A tar archive of the secrets themselves; what is derived is not in it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in (*PASSWORDS, SIGNING_KEY, PREVIOUS_KEY):
            data = (root / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o400
            tar.addfile(member, io.BytesIO(data))
    return archive.getvalue()


def restore(root: Path, archive: bytes) -> None:
    """Take the secrets over from an archive; ValueError if it is none, or lacks one of them."""
    found: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member) if member.isfile() else None
                found[member.name.removeprefix("./")] = file.read().decode() if file else ""
    except (tarfile.TarError, UnicodeError) as error:
        raise ValueError(f"this is no archive of secrets: {error}") from error
    lacking = [name for name in (*PASSWORDS, SIGNING_KEY) if not found.get(name)]
    if lacking:
        raise ValueError(f"the archive lacks {', '.join(lacking)}")
    root.mkdir(parents=True, exist_ok=True)
    before = read(root, "mongo/root_password")
    if before != found["mongo/root_password"]:
        remember_root(root, before)
    for name in (*PASSWORDS, SIGNING_KEY, PREVIOUS_KEY):
        write(root, name, found.get(name, ""))
    derive(root)


def kubernetes(root: Path) -> str:
    """A Secret for each reader, its keys named as the files, for `kubectl apply -f -`."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": reader},
            "stringData": {
                path.name: path.read_text()
                for path in sorted((root / reader).iterdir())
                if path.suffix != ".new"
            },
        }
        for reader in OWNERS
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)


def main(arguments: list[str]) -> str | int:
    """Run a command; the text of what is wrong, else 0."""
    match arguments:
        case ["make", directory]:
            make(Path(directory))
        case ["rotate", directory]:
            rotate(Path(directory))
        case ["save", directory]:
            sys.stdout.buffer.write(save(Path(directory)))
        case ["restore", directory]:
            try:
                restore(Path(directory), sys.stdin.buffer.read())
            except ValueError as error:
                return f"nothing was restored: {error}"
        case ["kubernetes", directory]:
            make(Path(directory))
            print(kubernetes(Path(directory)))
        case _:
            return "usage: python -m ops.secrets make|rotate|save|restore|kubernetes DIRECTORY"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
