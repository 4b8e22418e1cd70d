"""What the README shows is typed, and names what there is."""

import re
import subprocess
import sys
from pathlib import Path

import plainview
from plainview import ObservabilitySettings

ROOT = Path(__file__).parents[3]
README = (ROOT / "shared/observability/README.md").read_text()
# What a reader has around a snippet.
AROUND = """
import httpx
from fastapi import FastAPI
from plainview import Catalogue, ObservabilitySettings, observe

event_id, user_id = "e", "u"
app, settings = FastAPI(), ObservabilitySettings(service_name="shop")
client = httpx.AsyncClient()
"""
CLAIMS = (
    'CLAIMS = Catalogue("shop").counter("claims_total", "Claims", labels={"outcome": ("a",)})\n'
)


def snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_snippets_are_typed_strictly(tmp_path: Path) -> None:
    files = []
    for number, snippet in enumerate(snippets()):
        around = AROUND if "CLAIMS =" in snippet or number == 0 else AROUND + CLAIMS
        code = around + snippet if number else snippet
        if re.search(r"^(async with|assert granted)", snippet, re.MULTILINE):  # inside of a test
            imports, body = snippet.split("\n\n", 1)
            inside = "".join(f"    {line}\n" for line in body.splitlines())
            code = f"{around}{imports}\nasync def test() -> None:\n{inside}"
        files.append(tmp_path / f"snippet_{number}.py")
        files[-1].write_text(code)
    assert len(files) >= 3
    environment = {"MYPYPATH": f"{ROOT / 'shared/observability'}", "PATH": "/usr/bin:/bin"}
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


def test_every_setting_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", README, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row)}
    assert set(ObservabilitySettings.model_fields) <= told


def test_names_of_the_library_exist() -> None:
    imported = re.findall(r"from plainview import ([\w, ]+)", "\n".join(snippets()))
    for name in ", ".join(imported).split(", "):
        assert name in plainview.__all__
