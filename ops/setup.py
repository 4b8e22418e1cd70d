"""What the stack needs before it starts: secrets, configuration, the Collector's directory.

The configuration of the programs around is in the image and is copied into a volume that they
read. So no file of the host is mounted: a strict umask, SELinux, a remote engine and Docker
Desktop's file sharing make no difference. Links to Grafana and the console get the addresses that
compose gives them (GRAFANA_LINK, CONSOLE_LINK).

Usage: python -m ops.setup SECRETS CONFIGURATION COLLECTOR_QUEUE
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ops import secrets

COLLECTOR = 10001  # the user of its image, in which nothing could do this
SOURCE = Path(__file__).parent.parent / "configuration"
# As links stand in the files, and the variable with the address that holds here.
LINKS = {"http://localhost:3000": "GRAFANA_LINK", "http://localhost:8080": "CONSOLE_LINK"}


def copy(source: Path, target: Path, links: Mapping[str, str] | None = None) -> None:
    """Make `target` hold the files of `source`, readable by every user, and no others.

    Every key of `links` in a file becomes its value.
    """
    target.mkdir(parents=True, exist_ok=True)
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    for name in sorted(wanted):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        content = (source / name).read_bytes()
        for link, address in (links or {}).items():
            content = content.replace(link.encode(), address.encode())
        draft.write_bytes(content)
        draft.rename(path)
    for path in sorted(target.rglob("*"), reverse=True):  # a directory comes after what is in it
        if path.is_file():
            if path.relative_to(target) not in wanted:
                path.unlink()
            else:
                path.chmod(0o644)
        elif any(path.iterdir()):
            path.chmod(0o755)
        else:
            path.rmdir()
    target.chmod(0o755)


def give(directory: Path, owner: int) -> None:
    """Hand a directory and all in it to a user; an earlier version ran as another one."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, owner, owner)


def main(secrets_: Path, configuration: Path, queue: Path) -> None:
    """Do all three; whatever is done already stays as it is."""
    secrets.make(secrets_)
    links = {link: os.environ.get(name) or link for link, name in LINKS.items()}
    copy(SOURCE, configuration, {link: address.rstrip("/") for link, address in links.items()})
    give(queue, COLLECTOR)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
