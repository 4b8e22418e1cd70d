"""The Python of the library's README and pages, each piece as a module that can be checked."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "shared/observability"
PAGES = [LIBRARY / "README.md", *sorted((ROOT / "docs/plainview").glob("*.md"))]
# What a reader has around a piece.
AROUND = """
import httpx
from fastapi import FastAPI
from plainview import Catalogue, ObservabilitySettings, observe

event_id, user_id = "e", "u"
async def my_own_ping() -> None: ...
app, settings = FastAPI(), ObservabilitySettings(service_name="shop")
"""
CLIENT = "client = httpx.AsyncClient()\n"
CLAIMS = (
    'CLAIMS = Catalogue("shop").counter("claims_total", "Claims", labels={"outcome": ("a",)})\n'
)


def snippets() -> list[str]:
    """As they are on the pages."""
    pattern = re.compile(r"^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    found = []
    for page in PAGES:
        for piece in pattern.findall(page.read_text()):
            indent = len(piece) - len(piece.lstrip(" "))
            found.append("".join(line[indent:] for line in piece.splitlines(keepends=True)))
    return found


def write_modules(directory: Path) -> list[Path]:
    """One module for each piece."""
    files = []
    for number, snippet in enumerate(snippets()):
        around = "" if "app = FastAPI()" in snippet else AROUND + CLIENT
        if around and "CLAIMS =" not in snippet:
            around += CLAIMS
        if "\nimport httpx\n" in f"\n{snippet}":
            around = around.replace("import httpx\n", "").replace(CLIENT, "")
        code = around + snippet
        if re.search(r"^(async with|assert)", snippet, re.MULTILINE):  # inside of a test
            imports, body = snippet.split("\n\n", 1)
            inside = "".join(f"    {line}\n" for line in body.splitlines())
            code = f"{around}{imports}\nasync def test() -> None:\n{inside}"
        files.append(directory / f"snippet_{number}.py")
        files[-1].write_text(code)
    return files
