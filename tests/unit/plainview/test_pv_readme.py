"""What the README and the pages show is typed; each setting has its row."""

import re
import sys

from plainview import ObservabilitySettings
from tests.support.processes import ended
from tests.support.readme_snippets import LIBRARY, ROOT, write_modules


def test_snippets_are_typed_strictly(tmp_path):
    files = write_modules(tmp_path)
    assert len(files) >= 5
    # the project's own settings, without its list of packages
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = True\nplugins = pydantic.mypy\nfollow_imports = silent\n")
    cache = ROOT / ".mypy_cache/snippets"  # kept, for it takes half a minute without
    command = [sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", cache]
    environment = {"MYPYPATH": f"{LIBRARY}", "PATH": "/usr/bin:/bin"}
    done = ended([*command, *files], 110, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_has_a_row_that_says_something():
    page = (ROOT / "docs/plainview/settings.md").read_text()
    cells = [line.split(" | ") for line in re.findall(r"^\| (.*) \|$", page, re.MULTILINE)]
    rows = {first.strip("`"): [*others] for first, *others in cells}
    for name, field in ObservabilitySettings.model_fields.items():
        assert field.description, f"{name} has no docstring below it"
        assert field.description in rows[name], f"{name}: run `make generate`"
        assert f"PLAINVIEW_{name.upper()}" in rows[name][-1]
