"""A folder of written files that remembers what was written, so that nobody's work is lost.

`.plainview-kit.json` has the hash of each file as it was written last. A file that differs from it,
or is not in it, is somebody else's.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

MANIFEST = ".plainview-kit.json"


class NotOurs(Exception):
    """Files are in the way that the kit did not write, or that were changed since."""

    def __init__(self, directory: Path, paths: list[Path]) -> None:
        names = ", ".join(str(path) for path in paths)
        super().__init__(
            f"{directory} has files that the kit did not write or that were changed since: {names}."
            " Nothing was written; --force overwrites them"
        )


@dataclass
class Outcome:
    """What was done with which files, by their paths below the folder."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)  # changed by hand, which these may be
    removed: list[Path] = field(default_factory=list)  # written once, and no part any more
    notes: list[str] = field(default_factory=list)  # sentences for whoever wrote the kit


def update(
    directory: Path, files: Mapping[Path, str], editable: Set[Path], *,
    force: bool = False, dry: bool = False,
) -> Outcome:  # fmt: skip
    """Write what differs and remove what is no part any more; with `dry` only say so.

    Changed files of `editable` are left as they are. NotOurs, with nothing written, if another file
    is in the way and not `force`; OSError if a file cannot be written.
    """
    before, outcome = _manifest(directory), Outcome()
    refused: list[Path] = []
    for path, text in files.items():
        there = _hash_of(directory / path)
        if there == _hash(text):
            continue
        if there is None or there == before.get(str(path)) or force:
            outcome.written.append(path)
        else:
            (outcome.kept if path in editable else refused).append(path)
    if refused:
        raise NotOurs(directory, refused)
    outcome.removed = [
        path
        for path in map(Path, before)
        if path not in files
        and not path.is_absolute()
        and ".." not in path.parts
        and _hash_of(directory / path) == before[str(path)]
    ]
    if dry:
        return outcome
    for path in outcome.written:
        _write(directory / path, files[path])
    for path in outcome.removed:
        (directory / path).unlink()
    hashes = {str(path): _hash(text) for path, text in sorted(files.items())}
    _write(directory / MANIFEST, json.dumps(hashes, indent=1) + "\n")
    return outcome


def _write(file: Path, text: str) -> None:
    if _hash_of(file) == _hash(text):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)  # in one step: Prometheus or Grafana may be reading it


def _manifest(directory: Path) -> dict[str, str]:
    try:
        found = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}  # then every file that differs counts as somebody else's
    return found if isinstance(found, dict) else {}


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _hash_of(file: Path) -> str | None:
    try:
        return sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
