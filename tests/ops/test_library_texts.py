"""What texts say of the library's installation, and what checkers say of its examples."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.stack.programs import CACHE, ROOT
from tests.support.processes import ended
from tests.support.readme_snippets import LIBRARY, write_modules

TEXTS = {".md", ".py", ".toml", ".yml", ".yaml", ".txt", ".in", ""}


def test_no_text_installs_the_library_from_an_index() -> None:
    """The name is not ours there: texts name the wheel of a release, or the folder."""
    listed = ended(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"])
    files = [ROOT / name for name in listed.stdout.splitlines()]
    assert LIBRARY / "README.md" in files
    installs = re.compile(
        r"(?:pip|uv|uvx|pipx|poetry|pdm)\s+(?:pip\s+)?(?:install|add|run)?\s*"
        r"(?:-\S+\s+)*[\"']?plainview(?=[\[\s\"'=<>~,;]|$)(?!\.)"
    )
    wrong = []
    for file in files:
        if file.suffix in TEXTS and file.is_file() and file != Path(__file__):
            text = file.read_text(errors="replace")
            wrong += [f"{file.relative_to(ROOT)}: {found}" for found in installs.findall(text)]
    assert wrong == []
    assert installs.search("pip install -q 'plainview[redis]'")
    assert installs.search("uv add plainview")
    assert not installs.search("pip install path/to/plainview-0.1.0-py3-none-any.whl")


def test_examples_of_the_readme_are_clean_in_pyright(tmp_path: Path) -> None:
    found = sorted(CACHE.glob("pyright-*/node_modules/.bin/pyright"))
    if not found:
        pytest.skip("pyright is not here: `tests/stack/build pyright` makes it (needs npm)")
    for file in write_modules(tmp_path):
        assert file.exists()
    settings = {
        "include": ["."],
        "extraPaths": [str(LIBRARY)],
        "typeCheckingMode": "strict",
        "reportUnusedImport": "none",  # what a reader has around a snippet
        "reportUnusedFunction": "none",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = ended(
        [str(found[-1]), "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    )
    told = json.loads(done.stdout)
    problems = [
        f"{Path(each['file']).name}: {each['message']}" for each in told["generalDiagnostics"]
    ]
    assert problems == []
    assert told["summary"]["filesAnalyzed"] >= 5
