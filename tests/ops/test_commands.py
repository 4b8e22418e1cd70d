"""Commands in the pages work as they are written, from the root of a clone."""

import re
import sys
from importlib.util import find_spec

from tests.stack.programs import ROOT

# The changelog names commands of earlier versions, too.
PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/*.md"),
                 *ROOT.glob("shared/observability/*.md"), *ROOT.glob("examples/*/*.md")]
    if page.name != "CHANGELOG.md"
]  # fmt: skip
CALL = re.compile(r"([\w./]*\bpython3?) (?:[\w.-]+=\S+ )*(?:-m ([\w.]+)|([\w./]+\.py))")


def calls() -> list[tuple[str, str, str]]:
    """Place, interpreter and module or file of each call of Python outside of a container."""
    return [
        (f"{page.relative_to(ROOT)}:{number}", call[1], call[2] or call[3])
        for page in PAGES
        for number, line in enumerate(page.read_text().splitlines(), 1)
        for call in CALL.finditer(line)
        if not re.search(r"docker .*(?:exec|run)", line[: call.start()])
    ]


def test_python_is_the_one_that_has_the_module() -> None:
    found = calls()
    assert len(found) > 15
    for where, interpreter, what in found:
        if what.partition(".")[0] in sys.stdlib_module_names:
            continue  # any Python has it
        assert interpreter == ".venv/bin/python", f"{where}: only .venv/bin/python has {what}"
        there = (ROOT / what).exists() if what.endswith(".py") else find_spec(what)
        assert there, f"{where}: there is no {what}"


def test_no_page_needs_what_only_developers_have() -> None:
    assert "build" not in {what for _, _, what in calls()}  # `pip wheel` does it, too
