"""What other libraries do with the same small service, measured, as a table in Markdown.

    python -m lab.troubles.compare [NAME ...]

Not for CI: installs each library, in its newest version, into a virtual environment of its own
under `.local/compare/`, and takes minutes the first time. Each cell is what one run showed, in the
way that the library's own documentation adopts it. "no" means that it was looked for and not
found; "not had" that the package could not be installed, or did not start.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
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
                seen.spans[kind] = _new_spans(served, _asking(seen, served, kind, method, path))
                seen.tracebacks = _tracebacks(served) - told  # of the last one, the crash
            seen.spans["socket"] = _new_spans(served, lambda: served.chat("/chat/tea", 3))
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


def _asking(seen: Seen, served: Served, kind: str, method: str, path: str) -> Callable[[], None]:
    def ask() -> None:
        reply = served.ask(method, path)
        if kind == "crash" and reply is not None:
            seen.crash = dict(reply.headers)

    return ask


def _new_spans(served: Served, ask: Callable[[], None]) -> list[SpanRecord]:
    """The spans that come of it; those of a library without spans are waited for a second."""
    before = len(served.spans)
    ask()
    if until(lambda: len(served.spans) > before, 2.0):
        until(lambda: False, 0.8)  # a batch later than the first
    return served.spans[before:]


# --- the rows ---


def _series(page: str) -> set[str]:
    return {line.rsplit(" ", 1)[0] for line in page.splitlines() if line and line[0] != "#"}


def _templates(page: str, inside: str) -> list[str]:
    values = {
        value
        for sample in parse_metrics(page)
        if sample.name.endswith(("_total", "_count"))
        for value in sample.labels.values()
    }
    return sorted(value for value in values if inside in value)


def _metric_of_items(seen: Seen) -> str:
    return "yes" if "/items/{item}" in _templates(seen.before, "/items/") else "no"


def _metric_of_mounted(seen: Seen) -> str:
    return ", ".join(f"`{each}`" for each in _templates(seen.before, "/sub")) or "no"


def _span_of_mounted(seen: Seen) -> str:
    routes = {
        str(span.attributes.get("http.route", "none"))
        for span in seen.spans["mounted"]
        if span.kind == "server"
    }
    return ", ".join(f"`{each}`" for each in sorted(routes)) or "no"


def _added(seen: Seen) -> str:
    if not seen.before:
        return "no metrics"
    return str(len(_series(seen.after) - _series(seen.before)))


def _spans(kind: str) -> Callable[[Seen], str]:
    return lambda seen: str(len(seen.spans[kind])) if any(seen.spans.values()) else "no spans"


def _identified(seen: Seen) -> str:
    return "yes" if any("request-id" in name.lower() for name in seen.crash) else "no"


def _secrets(seen: Seen) -> str:
    lines = sum(SECRET in line for line in seen.served.text.splitlines())
    spans = sum(SECRET in repr(span) for span in seen.served.spans)
    return f"{lines} lines, {spans} spans"


def _json(seen: Seen) -> str:
    wanted = [line for line in seen.served.lines if "/items/{item}" in str(line)]
    return "yes" if wanted else "no"


def _traced(seen: Seen) -> str:
    ids = {span.trace_id for spans in seen.spans.values() for span in spans}
    own = [line for line in seen.served.text.splitlines() if "of the shop" in line]
    found = any(each in line for line in own for each in ids)
    return "yes" if found else "no"


def _failing(seen: Seen) -> str:
    statuses = {
        sample.labels.get("status_code") or sample.labels.get("status", "")
        for sample in parse_metrics(seen.before)
        if sample.name.endswith(("requests_total", "_count")) and sample.value
        and "/tasks/failing" in sample.labels.values()
    }  # fmt: skip
    return ", ".join(sorted(filter(None, statuses))) or "no"


ROWS: dict[str, Callable[[Seen], str]] = {
    "lines of code": lambda seen: str(seen.lines),
    "packages installed, all": lambda seen: str(seen.packages),
    "`/metrics` by route template": _metric_of_items,
    "a mounted route there": _metric_of_mounted,
    "its `http.route` in spans": _span_of_mounted,
    f"series that {SCANNED} unknown paths and {ODD_METHODS} methods add": _added,
    "spans of one request": _spans("item"),
    "spans of a WebSocket with 3 messages": _spans("socket"),
    "JSON access line with the route": _json,
    "a trace ID in lines of the shop's own logging": _traced,
    "request ID on the reply to a crash": _identified,
    "tracebacks of one crash": lambda seen: str(seen.tracebacks),
    f"planted secrets ({SECRET}) written": _secrets,
    "status of a failing background task (200 was sent)": _failing,
    "`/health/ready`": lambda seen: "yes" if seen.ready else "no",
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
    for title, cell in ROWS.items():
        cells = [cell(seen) if seen is not None else "not had" for seen in found.values()]
        print(f"| {title} | {' | '.join(cells)} |")
    for note in notes:
        print(f"\n{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
