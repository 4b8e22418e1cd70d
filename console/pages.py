"""The pages: Now, Follow, and the handbook."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from nicegui import ui
from starlette.requests import Request

from console.render import HERE, LANGUAGES, language_of, piece, word
from console.view import Rows, View

TITLE = "Event Rewards"
HANDBOOK = Path(__file__).resolve().parents[1] / "docs"
PANELS = (  # of the page Now: name, width of twelve, the text when it is empty
    ("people", "w4", ""),
    ("events", "w4", "no_events"),
    ("feed", "w4 live", "no_feed"),
    ("trouble", "w6", "no_trouble"),
    ("changes", "w6", "no_changes"),
)
ONE = (("spans", "no_spans", "waterfall w7"), ("lines", "no_lines", "loglines w5"))
Links = Mapping[str, str]


class KeyedList:
    """A list that keeps the element of a key, so that a focused item stays focused."""

    def __init__(self, classes: str, empty: str = "", tag: str = "li") -> None:
        self._tag, self._items = tag, dict[str, ui.html]()
        self._box = ui.element("ul" if tag == "li" else "div").classes(classes)
        self._empty = ui.html(piece("en", "empty", text=empty), sanitize=False)
        self._empty.classes("empty")

    def show(self, rows: Rows) -> None:
        """Show these rows in this order; only what is new or different is sent."""
        for key in self._items.keys() - dict(rows).keys():
            self._items.pop(key).delete()
        for index, (key, markup) in enumerate(rows):
            item = self._items.get(key)
            if item is None:
                with self._box:  # the markup is ours: its values were escaped by the template
                    item = self._items[key] = ui.html(markup, sanitize=False, tag=self._tag)
                if index < len(self._items) - 1:
                    item.move(self._box, target_index=index)
            elif item.content != markup:
                item.content = markup
        self._empty.set_visibility(not rows)


def add_pages(app: FastAPI, view: View, links: Links) -> None:
    """Serve `/`, `/follow` and `/docs/` of this app; once per process, as NiceGUI has it."""

    @app.get("/docs/images/{name}", include_in_schema=False)
    async def picture(name: str) -> FileResponse:
        return FileResponse(find(f"images/{name}", ".png"))

    register(view, links)
    ui.run_with(
        app, title=TITLE, favicon="📡", dark=None, tailwind=False, show_welcome_message=False,
        binding_refresh_interval=None, reconnect_timeout=10,
    )  # fmt: skip


def register(view: View, links: Links) -> None:
    """Declare the pages to NiceGUI."""

    @ui.page("/", title=f"{TITLE}: Now")
    def now(request: Request) -> None:
        language = _frame(request, "now")
        lists: dict[str, KeyedList] = {}
        with ui.element("div").classes("board").props("id=main"):
            lists["verdict"] = KeyedList("", tag="div")
            with _section(word(language, "services"), ""):
                lists["services"] = KeyedList("services")
            for name, width, empty in PANELS:
                with _section(word(language, name), f"panel {width}", titled=name != "people"):
                    tag = "div" if name == "people" else "li"
                    rows = "rows" if name in ("feed", "trouble", "changes") else name
                    lists[name] = KeyedList(rows, word(language, empty) if empty else "", tag)

        def update() -> None:
            for name, rows in view.now(language).items():
                lists[name].show(rows)

        update()
        ui.timer(1.0, update)

    @ui.page("/follow", title=f"{TITLE}: Follow")
    def follow(request: Request) -> None:
        wanted = request.query_params.get("id", "").strip()[:64]
        language, looks = _frame(request, "follow", wanted), 0
        shown: dict[str, KeyedList] = {}
        with ui.element("div").classes("board").props("id=main"):
            with ui.element("div").classes("panel"):
                hint = word(language, "not_found", id=wanted) if wanted else ""
                shown["facts"] = KeyedList("", hint, tag="div")
                if not wanted:
                    ui.html(piece(language, "hint"), sanitize=False)
            for name, empty, classes in ONE if wanted else ():
                with _section(word(language, name), "panel " + classes.split()[1]):
                    shown[name] = KeyedList(classes, word(language, empty))
            for kind in ("recent", "slow", "failed"):
                with _section(word(language, kind), "panel w4"):
                    empty = "no_requests" if kind == "recent" else "no_trouble"
                    shown[kind] = KeyedList("rows", word(language, empty))

        def look() -> None:
            nonlocal looks
            looks += 1
            rows = view.picks(language)
            # late spans come within the first looks; then every tenth is enough
            if wanted and (looks < 30 or looks % 10 == 0):
                rows = {**rows, **view.follow(language, wanted, links)}
            for name, items in rows.items():
                shown[name].show(items)

        look()
        ui.timer(1.0, look)

    @ui.page("/docs/{path:path}", title=f"{TITLE}: Docs")
    def handbook(request: Request, path: str) -> None:
        text = find(path, ".md").read_text("utf-8")
        _frame(request, "docs")
        extras = ["fenced-code-blocks", "tables", "cuddled-lists"]
        with ui.element("article").classes("board").props("id=main lang=en"):
            # the repository's own pages, so nothing has to be sanitised
            ui.markdown(text, extras=extras, sanitize=False).classes("panel prose")


def find(path: str, suffix: str) -> Path:
    """The file below docs/, which alerts link; 404 for anything else, wherever it may be."""
    try:
        file = (HANDBOOK / path).resolve()
        if file.suffix == suffix and file.is_relative_to(HANDBOOK) and file.is_file():
            return file
    except (OSError, ValueError):  # a name that is too long, or holds what no name can
        pass
    raise HTTPException(404, "no such page")


def _section(title: str, classes: str, *, titled: bool = True) -> ui.element:
    section = ui.element("section").classes(classes).props(f'aria-label="{title}"')
    if titled and classes:
        with section:
            ui.html(piece("en", "empty", text=title), sanitize=False, tag="h2")
    return section


def _frame(request: Request, page: str, wanted: str = "") -> str:
    language = language_of(request)
    other = LANGUAGES[1 - LANGUAGES.index(language)]
    ui.add_head_html(_head(language))
    header = piece(language, "header", page=page, wanted=wanted, other=other)
    ui.html(header, sanitize=False, tag="header").classes("bar-top")
    return language


@cache
def _head(language: str) -> str:
    css, script = (
        (HERE / "static" / f"console.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    lang = f'document.documentElement.lang = "{language}";'
    return f"<style>{css}</style><script>{lang}\n{script}</script>"
