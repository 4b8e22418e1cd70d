"""Pieces of markup from templates, in two languages; every value goes through autoescaping."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request

from shared import thresholds

HERE = Path(__file__).parent
LANGUAGES = ("en", "ko")
WORDS: dict[str, list[str]] = json.loads((HERE / "static" / "words.json").read_text("utf-8"))
POINTS = 60  # of a chart
LEAST = {"rate": 1, "errors": 0.05, "p95": 0.05, "cpu": 0.1, "memory": 1}  # a chart's least height


def language_of(request: Request) -> str:
    """The language that was chosen, else the browser's first that we have, else English."""
    asked = request.headers.get("accept-language", "").lower().split(",")
    wanted = [request.cookies.get("language", ""), *(part.strip()[:2] for part in asked)]
    return next((language for language in wanted if language in LANGUAGES), LANGUAGES[0])


def word(language: str, key: str, **values: object) -> str:
    """The text of that key; an unknown key is its own text (a value from a log line)."""
    texts = WORDS.get(str(key))
    return texts[LANGUAGES.index(language)].format(**values) if texts else str(key)


def span(seconds: float) -> str:
    """`850 µs`, `12 ms`, `1.25 s`, `3 min`, `5 h 12 min`, `4 d 3 h`."""
    if seconds < 1:
        ms = seconds * 1000
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms" if ms >= 1 else f"{ms * 1000:.0f} µs"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = (int(seconds // unit) for unit in (60, 3600, 86_400))
    if not hours:
        return f"{minutes} min"
    return f"{days} d {hours % 24} h" if days else f"{hours} h {minutes % 60} min"


def percent(ratio: float) -> str:
    """`0%`, `0.4%`, `12%`."""
    return f"{ratio:.1%}" if 0 < ratio < 0.0995 else f"{ratio:.0%}"


def spark(series: Sequence[Any], name: str) -> str:
    """SVG points in a box of 100 x 30, from zero to the largest value; means of equal parts."""
    all_values = [getattr(point, name) for point in series]
    size = max(1, -(-len(all_values) // POINTS))
    parts = [all_values[i : i + size] for i in range(0, len(all_values), size)]
    values = [sum(part) / len(part) for part in parts]
    top, step = max([*values, LEAST[name]]), 100 / max(1, len(values) - 1)
    return " ".join(f"{i * step:.1f},{29 - 27 * value / top:.1f}" for i, value in enumerate(values))


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(HERE / "templates")
    found = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found.globals |= {"spark": spark, "thresholds": thresholds.SERVICE}
    found.filters |= {
        "span": lambda value: span(value) if isinstance(value, int | float) else value,
        "percent": percent,
        "number": lambda n: f"{n:,.0f}",
        "iso": lambda at: datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        # until the browser puts its own zone there
        "clock": lambda at: datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S"),
    }
    return found


def piece(language: str, template: str, **values: Any) -> str:
    """The markup of one template."""

    def t(key: str, **more: object) -> str:
        return word(language, key, **more)

    return _environment().get_template(f"{template}.html").render(t=t, **values)
