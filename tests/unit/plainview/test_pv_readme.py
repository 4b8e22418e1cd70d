"""What the README and the pages show is typed, and names what there is."""

import re
import subprocess
import sys
from pathlib import Path

import plainview
from plainview import ObservabilitySettings
from tests.support.readme_snippets import LIBRARY, ROOT, snippets, write_modules


def test_snippets_are_typed_strictly(tmp_path: Path) -> None:
    files = write_modules(tmp_path)
    assert len(files) >= 5
    environment = {"MYPYPATH": f"{LIBRARY}", "PATH": "/usr/bin:/bin"}
    # the project's own settings, without its list of packages
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = True\nplugins = pydantic.mypy\nfollow_imports = silent\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", settings, *files],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_has_a_row_that_says_something() -> None:
    page = (ROOT / "docs/plainview/settings.md").read_text()
    cells = [line.split(" | ") for line in re.findall(r"^\| (.*) \|$", page, re.MULTILINE)]
    rows = {first.strip("`"): [*others] for first, *others in cells}
    for name, field in ObservabilitySettings.model_fields.items():
        assert field.description, f"{name} has no docstring below it"
        assert field.description in rows[name], f"{name}: run `make generate`"
        assert f"PLAINVIEW_{name.upper()}" in rows[name][-1]


def test_names_of_the_library_exist() -> None:
    imported = re.findall(
        r"^from plainview import (\(.*?\)|[^(\n]+)$", "\n".join(snippets()), re.M | re.S
    )
    names = set(re.findall(r"\w+", " ".join(imported)))
    assert {"observe", "Catalogue", "checks", "observe_sqlalchemy"} <= names
    assert names - {"checks"} <= set(plainview.__all__)  # that one is a module
