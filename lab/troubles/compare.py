"""What other libraries do with the same small service, measured, as a table in Markdown.

    python -m lab.troubles.compare [NAME ...]

Not for CI: installs each library, in its newest version, into a virtual environment of its own
under `.local/compare/`, and takes minutes the first time. Each cell is what one run showed, in the
way that the library's own documentation adopts it. "no" means that it was looked for and not
found; "not had" that the package could not be installed, or did not start.
"""

import contextlib
import datetime
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lab.processes import until
from lab.troubles.serving import ROOT, SHOP, Served, serving
from lab.troubles.ways import WAYS, Way
from plainview.decode import SpanRecord, parse_metrics

PLACE = ROOT / ".local" / "compare"
INSTALL_S = 600
COMMON = ("uvicorn", "websockets", "fastapi", "prometheus-client")
SCANNED, ODD_METHODS = 200, 20
SECRET = "hunter2"  # noqa: S105 - planted


def python_of(way: Way) -> Path:
    """The interpreter of the way's environment, which is made if it is not there."""
    folder = PLACE / re.sub(r"\W+", "-", way.name)
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        uv = [sys.executable, "-m", "uv"]
        for command in (
            ["venv", "-q", "--clear", "-p", sys.executable, str(folder)],
            ["pip", "install", "-q", "-p", str(python), *COMMON, *way.packages],
        ):
            subprocess.run([*uv, *command], check=True, timeout=INSTALL_S)
        (folder / "installed").touch()
    return python


def _told(python: Path, code: str) -> str:
    command = [str(python), "-c", f"import importlib.metadata as m; print({code})"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def _tracebacks(served: Served) -> int:
    return served.text.count("Traceback (most recent call last)")


def _spans_since(before: int, served: Served) -> list[SpanRecord]:
    """The spans after the first `before`; those of a library without any are waited for 2 s."""
    if until(lambda: len(served.spans) > before, 2.0):
        time.sleep(0.8)  # a batch later than the first
    return served.spans[before:]


def _series(page: str) -> set[str]:
    return {line.rsplit(" ", 1)[0] for line in page.splitlines() if line and line[0] != "#"}


def _yes(found: bool) -> str:
    return "yes" if found else "no"


def _listed(found: Iterable[str], mark: str = "`") -> str:
    return ", ".join(f"{mark}{each}{mark}" for each in sorted(found) if each) or "no"


def column(way: Way, python: Path) -> dict[str, str]:
    """The rows of the table for one library: the title of each, and what was seen."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        code = f"from shop import create_app\napp = create_app()\n{way.code}"
        (directory / "adopted.py").write_text(code)
        paths = (directory, SHOP)
        with serving(
            python, directory, target="adopted:app", paths=paths, **way.variables
        ) as served:
            cells = _asked(served)
        # the evidence stays, beside the environment
        python.parents[1].with_suffix(".log").write_text(served.text)
    names = _told(python, "*{d.name for d in m.distributions()}").split()
    lines = len(way.code.strip().splitlines())
    return {"lines of code": str(lines), "packages installed, all": str(len(names)), **cells}


def _asked(served: Served) -> dict[str, str]:
    """Do to the shop what the rows are about."""
    spans: dict[str, list[SpanRecord]] = {}
    told, crash = 0, ""
    for kind, method, path in (
        ("item", "GET", "/items/1"),
        ("mounted", "GET", f"/sub/items/1?token={SECRET}"),
        ("logged", "GET", "/logged"),
        ("failing", "POST", "/tasks/failing"),
        ("crash", "GET", "/broken"),
    ):
        told, before = _tracebacks(served), len(served.spans)
        reply = served.ask(method, path)
        spans[kind] = _spans_since(before, served)
        crash = " ".join(reply.headers) if reply is not None else ""  # of the last one at the end
    tracebacks, before = _tracebacks(served) - told, len(served.spans)
    served.chat("/chat/tea", 3)
    spans["socket"] = _spans_since(before, served)
    page = served.page()
    for number in range(SCANNED):
        served.ask("GET", f"/scan-{number}.php")
    for number in range(ODD_METHODS):
        served.ask(f"ODD{number}", "/items/1")
    added = str(len(_series(served.page()) - _series(page))) if page else "no metrics"
    health = served.ask("GET", "/health/ready")

    samples, text = parse_metrics(page), served.text.splitlines()
    counts = [sample for sample in samples if sample.name.endswith(("_total", "_count"))]
    values = {value for sample in counts for value in sample.labels.values()}
    of_failing = {
        sample.labels.get("status_code") or sample.labels.get("status", "")
        for sample in samples
        if sample.name.endswith(("requests_total", "_count")) and sample.value
        and "/tasks/failing" in sample.labels.values()
    }  # fmt: skip
    routes = {
        str(span.attributes.get("http.route", "none"))
        for span in spans["mounted"]
        if span.kind == "server"
    }
    traces = {span.trace_id for found in spans.values() for span in found}
    own = [line for line in text if "of the shop" in line]
    secrets = [sum(SECRET in line for line in text)]
    secrets += [sum(SECRET in repr(span) for span in served.spans)]
    number_of = {kind: str(len(found)) if traces else "no spans" for kind, found in spans.items()}
    return {
        "`/metrics` by route template": _yes(any("/items/{item}" in value for value in values)),
        "a mounted route there": _listed(value for value in values if "/sub" in value),
        "its `http.route` in spans": _listed(routes),
        f"series that {SCANNED} unknown paths and {ODD_METHODS} methods add": added,
        "spans of one request": number_of["item"],
        "spans of a WebSocket with 3 messages": number_of["socket"],
        "JSON access line with the route": _yes(
            any("/items/{item}" in str(line) for line in served.lines)
        ),
        "a trace ID in lines of the shop's own logging": _yes(
            any(trace in line for line in own for trace in traces)
        ),
        "request ID on the reply to a crash": _yes("request-id" in crash.lower()),
        "tracebacks of one crash": str(tracebacks),
        f"planted secrets ({SECRET}) written": f"{secrets[0]} lines, {secrets[1]} spans",
        "status of a failing background task (200 was sent)": _listed(of_failing, mark=""),
        "`/health/ready`": _yes(health is not None and health.status_code == 200),
    }


def main(names: list[str]) -> int:
    """Print the table; a library that cannot be had has cells that say so."""
    PLACE.mkdir(parents=True, exist_ok=True)
    columns: dict[str, dict[str, str]] = {}  # by name with version
    notes = []
    for way in WAYS:
        if names and way.name not in names:
            continue
        head, found = f"{way.name}: not had", dict[str, str]()
        try:
            python = python_of(way)
            head = f"{way.name} {_told(python, f'm.version({way.package!r})')}"
            found = column(way, python)
        except (subprocess.SubprocessError, RuntimeError) as error:
            print(f"{way.name}: {str(error)[-1000:]}", file=sys.stderr)
            if way.otherwise is not None:
                variables, lacks = way.otherwise
                with contextlib.suppress(RuntimeError):
                    found = column(replace(way, variables=variables), python)
                    notes.append(f"\n{head}: {lacks}.")
        columns[head] = found
    versions = _told(python_of(WAYS[0]), "m.version('fastapi'), m.version('starlette')")
    day = datetime.datetime.now(datetime.UTC).date()
    print(f"{day}, FastAPI and Starlette {versions}, `.venv/bin/python -m lab.troubles.compare`:\n")
    print(f"| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for title in dict.fromkeys(title for found in columns.values() for title in found):
        cells = (found.get(title, "not had") for found in columns.values())
        print(f"| {title} | {' | '.join(cells)} |")
    print(*notes, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
