"""Words and pieces of markup, in two languages; every value goes through autoescaping."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request

HERE = Path(__file__).parent
LANGUAGES = ("en", "ko")
WORDS: dict[str, list[str]] = json.loads((HERE / "static" / "words.json").read_text("utf-8"))


def language_of(request: Request) -> str:
    """The language that was chosen, else the browser's first that we have, else English."""
    chosen = request.cookies.get("language", "")
    asked = request.headers.get("accept-language", "").lower().split(",")
    wanted = [chosen, *(part.strip()[:2] for part in asked)]
    return next((word for word in wanted if word in LANGUAGES), LANGUAGES[0])


def word(language: str, key: str, **values: object) -> str:
    """The text of that key; a key that is not known is its own text (a value from a log line)."""
    texts = WORDS.get(key)
    if texts is None:
        return key
    return texts[LANGUAGES.index(language)].format_map(_Given(values))


class _Given(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return ""


def span(seconds: float) -> str:
    """`850 µs`, `12 ms`, `1.25 s`, `3 min`, `5 h 12 min`, `4 d 3 h`."""
    if seconds < 1:
        ms = seconds * 1000
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms" if ms >= 1 else f"{ms * 1000:.0f} µs"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _clock(at: float) -> str:  # until the browser puts its own zone there
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def percent(ratio: float) -> str:
    """`0%`, `0.4%`, `12%`."""
    return f"{ratio:.1%}" if 0 < ratio < 0.0995 else f"{ratio:.0%}"


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"span": span, "iso": _iso, "clock": _clock, "percent": percent}
    found.filters["number"] = lambda n: f"{n:,.0f}"
    return found


def piece(language: str, template: str, **values: Any) -> str:
    """The markup of one template."""

    def t(key: str, **more: object) -> str:
        return word(language, key, **more)

    return _environment().get_template(f"{template}.html").render(t=t, **values)
