"""Structured logs: one JSON line per event on stdout, of structlog and of stdlib `logging` alike.

A line is `timestamp, level, event, service, environment, component, log_type`, then as far as
known `request_id, trace_id, span_id, user_id`, then the fields of the event, masked. It is below
16 KB, where Docker would split it.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import orjson
import structlog
from opentelemetry import trace
from structlog.contextvars import get_contextvars

from . import context, stdlib_logs
from .client_address import Networks, client_address
from .guarded import guarded
from .log_sink import LogSink
from .masking import bounded, mask, mask_trace
from .record import Record

if TYPE_CHECKING:
    from starlette.types import Scope

    from .settings import ObservabilitySettings

Component = Literal["http", "db", "cache", "messaging", "security", "business", "job"]

_MAX_LINE = 15_000
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_TYPES = {level: "error" if number >= 40 else "general" for level, number in _LEVELS.items()}
_ALIASES = {"warn": "warning", "fatal": "critical", "err": "error", "msg": "info"}
_COLOURS = {"debug": 2, "info": 32, "warning": 33, "error": 31, "critical": 41}
# Control characters, which terminals obey and which could fake line breaks, are escaped.
_CONTROLS = {n: f"\\x{n:02x}" for n in (*range(9), *range(11, 32), *range(127, 160))}


class _State:
    """The settings of the last `configure_logging`."""

    enabled = True
    level = configured_level = _LEVELS["info"]
    masking = True
    console = False
    names: tuple[str, str] = ("service", "development")
    client = path = False
    trusted: Networks = ()
    renderer: Callable[[Any, str, Any], Any] | None = None


SINK = LogSink()
#: called with each JSON line as it is queued, whatever the format; for tests
listeners: list[Callable[[bytes], None]] = []


def configure_logging(settings: ObservabilitySettings, stream: IO[Any] | None = None) -> None:
    """Write logs as `settings` say, to stdout or `stream`; may be called again.

    Takes over the stdlib's root logger and the warnings. With `logs=False` nothing is written
    and the stdlib is left alone.
    """
    settings = settings.identified()
    _State.enabled = settings.logs
    _State.masking = settings.masking
    _State.names = (settings.service_name, settings.environment)
    key = settings.user_hash_key
    context.set_user_hash_key(key.get_secret_value() if key else None)
    if not settings.logs:
        return
    SINK.configure(stream, settings.log_queue_size, settings.security_wait_s)
    out = stream or sys.stdout
    terminal = settings.log_format == "auto" and out is not None and out.isatty()
    _State.console = settings.log_format == "console" or terminal
    set_log_level(settings.log_level)
    _State.configured_level = _State.level
    _State.client, _State.path = settings.access_log_client, settings.access_log_path
    _State.trusted = settings.trusted_proxies
    take_over()


def take_over() -> None:
    """Write what others log, too: by stdlib logging and by structlog; may be called again.

    If the application has configured structlog, all of its processors stay but the last one, the
    renderer: each line is written here instead.
    """
    stdlib_logs.take_over()
    if not structlog.is_configured():
        structlog.configure(processors=[], wrapper_class=Logger)
        return
    config = structlog.get_config()
    processors = config["processors"]
    if not processors or processors[-1] is _taken:
        return
    if config["wrapper_class"] is Logger:  # from here, and theirs would not be asked
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    _State.renderer = processors[-1]
    if isinstance(processors, list):
        processors[-1:] = [_taken]  # in place, as loggers that were made before hold this list
    else:
        structlog.configure(processors=[*processors[:-1], _taken])


def _taken(logger: Any, method: str, event_dict: Any) -> Any:
    """The last processor of an application's own structlog."""
    if not _State.enabled and _State.renderer is not None:
        return _State.renderer(logger, method, event_dict)
    with guarded("logs"):
        fields = dict(event_dict)
        event = formatted(fields.pop("event", ""), fields.pop("positional_args", ()))
        for name in ("level", "timestamp"):  # the line has its own
            fields.pop(name, None)
        if method == "exception":
            fields.setdefault("exc_info", True)
        level = "error" if method == "exception" else _ALIASES.get(method, method)
        write(level if level in _LEVELS else "info", event, fields)
    raise structlog.DropEvent


def enabled() -> bool:
    """Whether lines are written."""
    return _State.enabled


def set_log_level(level: str) -> None:
    """From now on write events of this level and above; ValueError for an unknown name.

    Libraries stay at info or above: their debug lines show statements and headers.
    """
    level = _ALIASES.get(level, level)
    if level not in _LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(_LEVELS)}")
    _State.level = _LEVELS[level]
    logging.getLogger().setLevel(max(_State.level, logging.INFO))


def toggle_debug_on_signal() -> bool:
    """Let SIGUSR1 switch debug lines on and off; False if this is not the main thread."""

    def toggle(number: int, frame: object) -> None:
        on = _State.level != _LEVELS["debug"]
        number = _LEVELS["debug"] if on else max(_State.configured_level, _LEVELS["info"])
        level = next(name for name, value in _LEVELS.items() if value == number)
        set_log_level(level)
        # In an empty context, as the signal interrupts any request, whose ID does not belong here.
        Context().run(get_logger("job").warning, "log.level_changed", new_level=level)

    try:
        signal.signal(signal.SIGUSR1, toggle)
    except ValueError:
        return False
    return True


def flush_logs(timeout_s: float = 2.0) -> bool:
    """Wait until all lines are written, for at most `timeout_s` seconds; False if they are not."""
    return SINK.flush(timeout_s)


def get_logger(component: Component = "business") -> structlog.typing.FilteringBoundLogger:
    """A logger: `log.info("reward.claimed", event_id=...)`. Security events are dropped last.

    Its calls never raise: arguments that do not fit the text are appended to it.
    """
    if component not in _loggers:
        _loggers[component] = Logger(None, [], {"component": component})
    return cast(structlog.typing.FilteringBoundLogger, _loggers[component])


def write(level: str, event: object, fields: dict[str, Any]) -> None:
    """Write a line, if its level is enabled."""
    if _State.enabled and _LEVELS[level] >= _State.level:
        with guarded("logs"):
            _write(level, event, fields)


class Logger(structlog.BoundLoggerBase):
    """The methods of structlog's loggers; those that start with an `a` are for coroutines."""

    def bind(self, **fields: Any) -> Logger:
        return super().bind(**fields)

    def is_enabled_for(self, level: int) -> bool:
        return _State.enabled and level >= _State.level

    def get_effective_level(self) -> int:
        return _State.level

    def log(self, level: int, event: object = "", /, *args: Any, **fields: Any) -> None:
        self._log(level_name(level), event, args, fields)

    def exception(self, event: object = "", /, *args: Any, **fields: Any) -> None:
        self._log("error", event, args, {"exc_info": True, **fields})

    async def aexception(self, event: object = "", /, *args: Any, **fields: Any) -> None:
        self.exception(event, *args, **fields)

    def _log(self, level: str, event: object, args: Any, fields: dict[str, Any]) -> None:
        if _State.enabled and _LEVELS[level] >= _State.level:
            with guarded("logs"):
                bound = {**get_contextvars(), **self._context, **fields}
                _write(level, formatted(event, args), bound)


def _method(level: str) -> tuple[Callable[..., None], Callable[..., Awaitable[None]]]:
    def plain(self: Logger, event: object = "", /, *args: Any, **fields: Any) -> None:
        self._log(level, event, args, fields)

    async def awaited(self: Logger, event: object = "", /, *args: Any, **fields: Any) -> None:
        self._log(level, event, args, fields)

    return plain, awaited


for _level in _LEVELS:
    for _name in (_level, *(alias for alias, name in _ALIASES.items() if name == _level)):
        _plain, _awaited = _method(_level)
        setattr(Logger, _name, _plain)
        setattr(Logger, f"a{_name}", _awaited)

_loggers: dict[str, Logger] = {}


def formatted(event: object, args: Any) -> object:
    """The text with its %-arguments; if they do not fit, they are appended."""
    if not args:
        return event
    try:
        return str(event) % (args[0] if len(args) == 1 and isinstance(args[0], dict) else args)
    except Exception:  # e.g. from a `__str__` of the application
        with contextlib.suppress(Exception):
            return f"{event} {args}"
    return context.text_of(event)


def level_name(number: int) -> str:
    """The name of a stdlib level; a number in between gets the next lower one."""
    below = [name for name, value in _LEVELS.items() if value <= number]
    return below[-1] if below else "debug"


def _base(level: str, event: str, component: str) -> dict[str, Any]:
    service, environment = _State.names
    line = {
        "timestamp": datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z",
        "level": level,
        "event": event,
        "service": service,
        "environment": environment,
        "component": component,
        "log_type": "security" if component == "security" else _TYPES[level],
    }
    request = context.current()
    if request is not None:
        line["request_id"] = request.request_id
    span = trace.get_current_span().get_span_context()
    if not span.trace_id and isinstance(request, Record):
        span = request.span.get_span_context()  # the span has ended already
    if span.trace_id:
        line["trace_id"] = f"{span.trace_id:032x}"
        line["span_id"] = f"{span.span_id:016x}"
    if request is not None and request.user_id is not None:
        line["user_id"] = request.user_id
    return line


def access(record: Record, scope: Scope) -> None:
    """Write `http.request` or `websocket.closed`, as an error from status 500 on or a failure.

    Only the path is masked, if it is asked for: method and route (`__unknown__` without one) are
    of closed sets, never what a client wrote.
    """
    failed = record.status >= 500 or record.error is not None
    level = "error" if failed else "info"
    if not _State.enabled or _LEVELS[level] < _State.level:
        return
    if record.websocket:
        line = _base(level, "websocket.closed", "http")
    else:
        line = _base(level, "http.request", "http")
        line["http_request_method"] = record.method
    line["http_route"] = record.path
    line["http_response_status_code"] = record.status
    if not record.websocket:
        line["http_response_body_size"] = record.size
    elif record.close_code is not None:
        line["websocket_close_code"] = record.close_code
    line["duration_s"] = round(record.duration_s, 6)
    if failed and not record.websocket:
        line["error_type"] = record.error_type
    if _State.client:
        line["client_address"] = client_address(scope, _State.trusted)
    if _State.path:
        line["url_path"] = (mask if _State.masking else bounded)(scope["path"])
    _send(line)


def _write(level: str, event: object, fields: dict[str, Any]) -> None:
    component = str(fields.pop("component", "business"))
    clean = mask if _State.masking else bounded
    line = _base(level, str(clean(event))[:200], component)
    error = fields.pop("exc_info", None)
    if "user_id" in fields and "user_id" not in line:
        line["user_id"] = context.user_pseudonym(str(fields.pop("user_id")))
    for key, value in clean(fields).items():
        # a field named like one of the line's own gets an underscore
        line[f"{key}_" if key in line else key] = value
    if error:
        line.update(_exception(error, clean))
    _send(line)


def _exception(error: Any, clean: Callable[[Any], Any]) -> dict[str, str]:
    if not isinstance(error, (BaseException, tuple)):
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if not isinstance(error, BaseException):
        return {}
    kind = type(error)
    message = "<str() failed>"
    with contextlib.suppress(Exception):
        message = str(error)
    # the last 20 frames of each exception of the chain
    stack = "".join(traceback.format_exception(error, limit=-20))
    return {
        "exception_type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
        "exception_message": clean(message),
        "exception_stacktrace": mask_trace(stack, masking=_State.masking),
    }


def _send(line: dict[str, Any]) -> None:
    data = _dump(line)
    for listener in listeners:
        listener(data)
    SINK.put(_pretty(line) if _State.console else data, line["level"], line["log_type"])


def _dump(line: dict[str, Any]) -> bytes:
    data = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    keys = [*line]
    for kept in (len(keys), 11):  # cut all fields, then keep only the line's own 11
        if len(data) > _MAX_LINE:
            short = {k: v if type(v) in {int, float} else str(v)[:200] for k, v in line.items()}
            cut = {key: short[key] for key in keys[:kept]}
            data = orjson.dumps({**cut, "truncated": True}, option=orjson.OPT_APPEND_NEWLINE)
    return data


def _pretty(line: dict[str, Any]) -> bytes:
    hidden = {"timestamp", "level", "event", "service", "environment", "log_type", "span_id"}
    level, stack = line["level"], str(line.get("exception_stacktrace", ""))
    fields = " ".join(
        f"{key}={value if isinstance(value, str) else orjson.dumps(value).decode()}"
        for key, value in line.items()
        if key not in hidden and key != "exception_stacktrace"
    )
    head = f"{line['event']:<28} {fields}".translate({**_CONTROLS, 10: "\\n"})
    text = f"{line['timestamp'][11:23]} \x1b[{_COLOURS[level]}m{level:<8}\x1b[0m {head}\n"
    return (text + stack.translate(_CONTROLS)).encode("utf-8", "replace")
