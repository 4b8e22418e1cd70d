"""The standard library's logging, and that of servers, as lines of the library.

Servers configure logging when they like: uvicorn before the application is imported or after,
by the way it was started. So their loggers get a filter, which outlives such a configuration.
"""

from __future__ import annotations

import logging

from . import logs
from .guarded import guarded

#: name of the mark on exceptions that have their line already
LOGGED = "__plainview_logged__"
_SERVERS = ("uvicorn", "uvicorn.error", "gunicorn.error", "hypercorn.error", "_granian")
_ACCESS = ("uvicorn.access", "gunicorn.access", "hypercorn.access", "granian.access")
_CHATTY = ("httpx", "httpcore", "pymongo", "asyncio")  # a line per request
_COMPONENTS: dict[str, logs.Component] = {
    **dict.fromkeys(("uvicorn", "gunicorn", "hypercorn", "_granian"), "http"),
    **dict.fromkeys(("fastapi", "starlette", "httpx", "httpcore", "aiohttp"), "http"),
    **dict.fromkeys(("pymongo", "motor"), "db"),
    "redis": "cache",
}
_GRANIAN = "_granian.utils"
_RECORD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "color_message", "taskName"}


class Handler(logging.Handler):
    """Records as events: `log.message` with `logger`, `message` and what `extra` gave."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless it is about an exception that has its line already."""
        error = record.exc_info[1] if record.exc_info else None
        if not getattr(error, LOGGED, False):
            with guarded("logs"):
                _write(record)


def _write(record: logging.LogRecord) -> None:
    if record.name == _GRANIAN and str(record.msg).startswith("Application callable raised"):
        return  # with the exception as text; the middleware has told it
    extra = {k: v for k, v in record.__dict__.items() if k not in _RECORD}
    try:
        message = record.getMessage()
    except Exception:  # arguments that do not fit the format
        message = str(logs.formatted(record.msg, record.args))
    component = _COMPONENTS.get(record.name.partition(".")[0], "business")
    own = {"logger": record.name, "message": message, "exc_info": record.exc_info}
    if record.stack_info:
        own["stack"] = record.stack_info
    fields = {"component": component, **extra, **own}
    logs.write(logs.level_name(record.levelno), "log.message", fields)


HANDLER = Handler()


def take_over() -> None:
    """Send records this way from now on; may be called again."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if type(h) is logging.StreamHandler]:
        root.removeHandler(handler)
    if HANDLER not in root.handlers:
        root.addHandler(HANDLER)
    for name in _SERVERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        _add_filter(logger, _redirected)
    for name in _ACCESS:  # there is `http.request`, and without secrets in the query
        _add_filter(logging.getLogger(name), _dropped)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _add_filter(logger: logging.Logger, take: logging._FilterType) -> None:
    if take not in logger.filters:
        logger.addFilter(take)


def _redirected(record: logging.LogRecord) -> bool:
    """Take the record away from handlers that a server has set since."""
    if not logs.enabled():
        return True
    HANDLER.handle(record)
    return False


def _dropped(record: logging.LogRecord) -> bool:
    return not logs.enabled()
