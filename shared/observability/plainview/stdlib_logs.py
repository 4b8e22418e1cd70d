"""Writes records of the standard library's logging, also those of servers, as lines of ours.

Servers configure logging at different times: uvicorn before or after the application is imported,
depending on how it is started. So their loggers get a filter, which survives that, and each
`logging.config.dictConfig` is followed by another take-over.
"""

from __future__ import annotations

import logging
import logging.config
import sys
from typing import Any

from structlog.contextvars import get_contextvars

from . import logs
from .guarded import guarded

#: attribute that marks exceptions which are logged already
LOGGED = "__plainview_logged__"
_SERVERS = ("uvicorn", "uvicorn.error", "gunicorn.error", "hypercorn.error", "_granian")
_ACCESS = ("uvicorn.access", "gunicorn.access", "hypercorn.access", "granian.access")
_CHATTY = ("httpx", "httpcore", "pymongo", "asyncio")  # these log a line per request
_COMPONENTS: dict[str, logs.Component] = {
    **dict.fromkeys(("uvicorn", "gunicorn", "hypercorn", "_granian"), "http"),
    **dict.fromkeys(("fastapi", "starlette", "httpx", "httpcore", "aiohttp"), "http"),
    **dict.fromkeys(("pymongo", "motor"), "db"),
    "redis": "cache",
}
_GRANIAN = "_granian.utils"
_RECORD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "color_message", "taskName"}


class Handler(logging.Handler):
    """Writes records as events `log.message` with `logger`, `message` and the fields of `extra`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, unless it is about an exception that is logged already."""
        error = record.exc_info[1] if record.exc_info else None
        if not getattr(error, LOGGED, False):
            with guarded("logs"):
                _write(record)


def _write(record: logging.LogRecord) -> None:
    if record.name == _GRANIAN and str(record.msg).startswith("Application callable raised"):
        return  # has the traceback as text; the middleware logged it already
    extra = {k: v for k, v in record.__dict__.items() if k not in _RECORD}
    try:
        message = record.getMessage()
    except Exception:  # arguments that do not fit the format
        message = str(logs.formatted(record.msg, record.args))
    component = _COMPONENTS.get(record.name.partition(".")[0], "business")
    own = {"logger": record.name, "message": message, "exc_info": record.exc_info}
    if record.stack_info:
        own["stack"] = record.stack_info
    fields = {**get_contextvars(), "component": component, **extra, **own}
    logs.write(logs.level_name(record.levelno), "log.message", fields)


HANDLER = Handler()


class Configurator(logging.config.DictConfigurator):
    """What `dictConfig` uses, as the stdlib lets one choose: takes over again after each."""

    def configure(self) -> Any:
        done = super().configure()
        if logs.enabled():
            with guarded("logs"):
                take_over()
        return done


def _is_console(handler: logging.Handler) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return type(handler) is logging.StreamHandler and handler.stream in streams


def take_over() -> None:
    """Handle all records of the stdlib from now on; may be called again.

    Handlers that write to the console are removed, as their lines would be doubled and unmasked;
    those that write to files or elsewhere stay.
    """
    if logging.config.dictConfigClass is logging.config.DictConfigurator:
        logging.config.dictConfigClass = Configurator
    for one in tuple(logging.root.manager.loggerDict.values()):
        if isinstance(one, logging.Logger):
            for handler in [h for h in one.handlers if _is_console(h)]:
                one.removeHandler(handler)
                one.propagate = True
    root = logging.getLogger()
    for handler in [h for h in root.handlers if type(h) is logging.StreamHandler]:
        root.removeHandler(handler)
    if HANDLER not in root.handlers:
        root.addHandler(HANDLER)
    for name in _SERVERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        _add_filter(logger, _redirected)
    for name in _ACCESS:  # `http.request` replaces it, without the query
        _add_filter(logging.getLogger(name), _dropped)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _add_filter(logger: logging.Logger, take: logging._FilterType) -> None:
    if take not in logger.filters:
        logger.addFilter(take)


def _redirected(record: logging.LogRecord) -> bool:
    """Keep the record from handlers that a server has set meanwhile."""
    if not logs.enabled():
        return True
    HANDLER.handle(record)
    return False


def _dropped(record: logging.LogRecord) -> bool:
    return not logs.enabled()
