"""The library as others get it: built into a wheel, and installed with what it declares alone."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def run(*command: object, **more: Any) -> str:
    """What a command printed; AssertionError if it failed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def closure(requires: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """Names of all distributions that are needed, extras only where somebody asks for them."""
    found: set[str] = set()
    todo = [(text, extra) for text in requires for extra in ("", *extras)]
    seen = set()
    while todo:
        text, extra = todo.pop()
        need = Requirement(text)
        if (text, extra) in seen or (need.marker and not need.marker.evaluate({"extra": extra})):
            continue
        seen.add((text, extra))
        found.add(canonicalize_name(need.name))
        for wanted in ("", *need.extras):
            todo += [(line, wanted) for line in distribution(need.name).requires or []]
    return found


def environment(directory: Path, extras: Iterable[str] = (), others: Iterable[str] = ()) -> Path:
    """Python of a new environment with the wheel, its dependencies and `others`, nothing else."""
    source = directory / "source"
    skip = shutil.ignore_patterns("__pycache__", "dist", "build")
    shutil.copytree(ROOT / "shared" / "observability", source, ignore=skip)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", directory, source)
    (wheel,) = directory.glob("plainview-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", directory / "venv")
    python = directory / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig as s; print(s.get_path('purelib'))").strip())
    target = ("--no-deps", "--no-index", "--no-compile", "--target", site)
    run(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *target, wheel)
    (metadata,) = site.glob("plainview-*.dist-info/METADATA")
    requires = [
        line.removeprefix("Requires-Dist: ")
        for line in metadata.read_text().splitlines()
        if line.startswith("Requires-Dist: ")
    ]
    # links instead of an install from an index, which would need the network
    own = Path(sysconfig.get_path("purelib"))
    for name in closure([*requires, *others], extras):
        for file in distribution(name).files or []:
            if ".." not in file.parts and (own / file).is_file():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(own / file)
    return python
