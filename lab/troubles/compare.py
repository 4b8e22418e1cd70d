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
from dataclasses import dataclass, replace
from pathlib import Path

from lab.troubles.serving import ROOT, SHOP, Served, serving
from lab.troubles.ways import WAYS, Way
from lab.waiting import until
from plainview.decode import SpanRecord, parse_metrics

PLACE = ROOT / ".local" / "compare"
INSTALL_S = 600
COMMON = ("uvicorn", "websockets", "fastapi", "prometheus-client")
SCANNED, ODD_METHODS = 200, 20
SECRET = "hunter2"  # noqa: S105 - planted


@dataclass
class Seen:
    """What one run left: its output and spans, and pages of metrics in between."""

    served: Served
    spans: dict[str, list[SpanRecord]]
    crash: dict[str, str]
    before: str = ""
    after: str = ""
    ready: bool = False
    tracebacks: int = 0
    packages: int = 0
    lines: int = 0


def _folder(way: Way) -> Path:
    return PLACE / re.sub(r"\W+", "-", way.name)


def python_of(way: Way) -> Path:
    """The interpreter of the way's environment, which is made if it is not there."""
    folder = _folder(way)
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
    command = [str(python), "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def version(way: Way, python: Path) -> str:
    """The version that was installed."""
    return _told(python, f"import importlib.metadata as m; print(m.version({way.package!r}))")


def run(way: Way, python: Path) -> Seen:
    """Serve the shop in this way and do to it what the rows are about."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        code = f"from shop import create_app\napp = create_app()\n{way.code}"
        (directory / "adopted.py").write_text(code)
        with serving(
            python, directory, target="adopted:app", paths=(directory, SHOP), **way.variables
        ) as served:
            seen = Seen(served, {}, {}, lines=way.lines)
            for kind, method, path in (
                ("item", "GET", "/items/1"),
                ("mounted", "GET", f"/sub/items/1?token={SECRET}"),
                ("logged", "GET", "/logged"),
                ("failing", "POST", "/tasks/failing"),
                ("crash", "GET", "/broken"),
            ):
                told = _tracebacks(served)
                spans = len(served.spans)
                reply = served.ask(method, path)
                seen.spans[kind] = _spans_since(spans, served)
                # what is kept at the end is of the last one, the crash
                seen.tracebacks = _tracebacks(served) - told
                seen.crash = dict(reply.headers) if reply is not None else {}
            spans = len(served.spans)
            served.chat("/chat/tea", 3)
            seen.spans["socket"] = _spans_since(spans, served)
            seen.before = served.page()
            for number in range(SCANNED):
                served.ask("GET", f"/scan-{number}.php")
            for number in range(ODD_METHODS):
                served.ask(f"ODD{number}", "/items/1")
            seen.after = served.page()
            health = served.ask("GET", "/health/ready")
            seen.ready = health is not None and health.status_code == 200
            seen.served = Served(served.url, _copy(way, served), list(served.spans))
    names = "import importlib.metadata as m; print(*{d.name for d in m.distributions()})"
    seen.packages = len(_told(python, names).split())
    return seen


def _copy(way: Way, served: Served) -> Path:
    kept = _folder(way).with_suffix(".log")
    kept.write_text(served.text)
    return kept


def _tracebacks(served: Served) -> int:
    return served.text.count("Traceback (most recent call last)")


def _spans_since(before: int, served: Served) -> list[SpanRecord]:
    """The spans after the first `before`; those of a library without any are waited for 2 s."""
    if until(lambda: len(served.spans) > before, 2.0):
        time.sleep(0.8)  # a batch later than the first
    return served.spans[before:]


def _series(page: str) -> set[str]:
    return {line.rsplit(" ", 1)[0] for line in page.splitlines() if line and line[0] != "#"}


def column(seen: Seen) -> dict[str, str]:
    """The rows of the table for one library: the title of each, and what was seen."""
    before, text = parse_metrics(seen.before), seen.served.text.splitlines()
    counts = [sample for sample in before if sample.name.endswith(("_total", "_count"))]
    values = {value for sample in counts for value in sample.labels.values()}
    of_failing = {
        sample.labels.get("status_code") or sample.labels.get("status", "")
        for sample in before
        if sample.name.endswith(("requests_total", "_count")) and sample.value
        and "/tasks/failing" in sample.labels.values()
    }  # fmt: skip
    routes = {
        str(span.attributes.get("http.route", "none"))
        for span in seen.spans["mounted"]
        if span.kind == "server"
    }
    traces = {span.trace_id for spans in seen.spans.values() for span in spans}
    own = [line for line in text if "of the shop" in line]
    secrets = [sum(SECRET in line for line in text)]
    secrets += [sum(SECRET in repr(span) for span in seen.served.spans)]

    def yes(found: bool) -> str:
        return "yes" if found else "no"

    def listed(found: Iterable[str], mark: str = "`") -> str:
        return ", ".join(f"{mark}{each}{mark}" for each in sorted(found) if each) or "no"

    def spans(kind: str) -> str:
        return str(len(seen.spans[kind])) if traces else "no spans"

    added = str(len(_series(seen.after) - _series(seen.before))) if before else "no metrics"
    return {
        "lines of code": str(seen.lines),
        "packages installed, all": str(seen.packages),
        "`/metrics` by route template": yes(any("/items/{item}" in value for value in values)),
        "a mounted route there": listed(value for value in values if "/sub" in value),
        "its `http.route` in spans": listed(routes),
        f"series that {SCANNED} unknown paths and {ODD_METHODS} methods add": added,
        "spans of one request": spans("item"),
        "spans of a WebSocket with 3 messages": spans("socket"),
        "JSON access line with the route": yes(
            any("/items/{item}" in str(line) for line in seen.served.lines)
        ),
        "a trace ID in lines of the shop's own logging": yes(
            any(trace in line for line in own for trace in traces)
        ),
        "request ID on the reply to a crash": yes(
            any("request-id" in name.lower() for name in seen.crash)
        ),
        "tracebacks of one crash": str(seen.tracebacks),
        f"planted secrets ({SECRET}) written": f"{secrets[0]} lines, {secrets[1]} spans",
        "status of a failing background task (200 was sent)": listed(of_failing, mark=""),
        "`/health/ready`": yes(seen.ready),
    }


def main(names: list[str]) -> int:
    """Print the table; a library that cannot be had has cells that say so."""
    PLACE.mkdir(parents=True, exist_ok=True)
    found: dict[str, Seen | None] = {}
    heads, notes = [], []
    for way in WAYS:
        if names and way.name not in names:
            continue
        found[way.name], head = None, f"{way.name}: not had"
        try:
            python = python_of(way)
            head = f"{way.name} {version(way, python)}"
            found[way.name] = run(way, python)
        except (subprocess.SubprocessError, RuntimeError) as error:
            print(f"{way.name}: {str(error)[-1000:]}", file=sys.stderr)
            if way.otherwise is not None:
                variables, lacks = way.otherwise
                with contextlib.suppress(RuntimeError):
                    found[way.name] = run(replace(way, variables=variables), python)
                    notes.append(f"{head}: {lacks}.")
        heads.append(head)
    versions = "import fastapi, starlette; print(fastapi.__version__, starlette.__version__)"
    fastapi = _told(python_of(WAYS[0]), versions)
    day = datetime.datetime.now(datetime.UTC).date()
    print(f"{day}, FastAPI and Starlette {fastapi}, `.venv/bin/python -m lab.troubles.compare`:\n")
    print(f"| | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    columns = [column(seen) if seen else {} for seen in found.values()]
    for title in dict.fromkeys(title for each in columns for title in each):
        print(f"| {title} | {' | '.join(each.get(title, 'not had') for each in columns)} |")
    for note in notes:
        print(f"\n{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
