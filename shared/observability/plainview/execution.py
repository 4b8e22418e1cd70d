"""`@log_execution`: one log line per call, whatever the kind of function."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack
from math import inf
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from opentelemetry import trace

from .guarded import guarded
from .logs import Component, get_logger
from .masking import mask

F = TypeVar("F", bound=Callable[..., Any])
Level = Literal["debug", "info", "warning", "error", "critical"]


class Options(TypedDict, total=False):
    """What `log_execution` takes; its docstring explains it."""

    name: str
    component: Component
    level: Level
    error_level: Level
    slow_s: float
    arguments: bool
    span: bool


@overload
def log_execution(function: F, /) -> F: ...
@overload
def log_execution(**options: Unpack[Options]) -> Callable[[F], F]: ...
def log_execution(function: Any = None, /, **options: Unpack[Options]) -> Any:
    """Log `execution.ended` with `function`, `outcome` (ok, error, cancelled) and `duration_s`.

    For methods and functions of all kinds. A generator counts from its first value to its end, and
    as cancelled if it is closed early. Result, exception and signature are unchanged. Only the type
    of an exception is logged, as whoever handles it knows what it means.

    `level` (info) is for success and cancellation, `error_level` (error) for errors. A call of
    `slow_s` seconds or more is at least a warning, with `slow`. `arguments` adds the arguments,
    masked and bounded. `span` makes a span, which is not current inside of a generator.
    """
    decorate = functools.partial(_decorate, options)
    return decorate if function is None else decorate(function)


def _decorate(options: Options, function: Any) -> Any:
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(_decorate(options, function.__func__))
    call = functools.partial(_Call, options, function)

    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            with call(args, kwargs, attach=False):
                inner = function(*args, **kwargs)
                try:
                    value = await anext(inner)
                    while True:
                        try:
                            sent = yield value
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            value = await inner.athrow(error)
                        else:
                            value = await inner.asend(sent)
                except StopAsyncIteration:
                    return
                finally:
                    await inner.aclose()

        return async_generator
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with call(args, kwargs, attach=False):
                return (yield from function(*args, **kwargs))

        return generator
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with call(args, kwargs):
                return await function(*args, **kwargs)

        return coroutine

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with call(args, kwargs):
            return function(*args, **kwargs)

    return plain


class _Call:
    """One call; the `with` block around it never swallows or adds an exception."""

    def __init__(
        self, options: Options, function: Any, args: Any, kwargs: Any, *, attach: bool = True
    ) -> None:
        self.options, self.function, self.args, self.kwargs = options, function, args, kwargs
        self.attach = attach
        self.fields: dict[str, Any] = {}
        self.span: trace.Span = trace.INVALID_SPAN
        self.stack = ExitStack()

    def __enter__(self) -> None:
        with guarded("execution"):
            name = getattr(self.function, "__qualname__", type(self.function).__name__)
            self.fields["function"] = self.options.get("name", name)
            if self.options.get("arguments"):  # before the call, which may change them
                bound = inspect.signature(self.function).bind(*self.args, **self.kwargs)
                own = {k: v for k, v in bound.arguments.items() if k not in {"self", "cls"}}
                self.fields["arguments"] = mask(own)
            if self.options.get("span"):
                self.span = trace.get_tracer(__name__).start_span(self.fields["function"])
                if self.attach:
                    self.stack.enter_context(trace.use_span(self.span, False, False, False))
        self.start = perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = perf_counter() - self.start
        with guarded("execution"):
            self._log(kind, seconds)
        with guarded("execution"):
            self.stack.close()
        with guarded("execution"):
            self.span.end()

    def _log(self, kind: type[BaseException] | None, seconds: float) -> None:
        fields = self.fields
        level: Level = self.options.get("level", "info")
        fields["outcome"] = "ok"
        if kind is not None and issubclass(kind, (asyncio.CancelledError, GeneratorExit)):
            fields["outcome"] = "cancelled"
        elif kind is not None:
            fields["outcome"], level = "error", self.options.get("error_level", "error")
            fields["exception_type"] = kind.__qualname__
            self.span.set_attribute("error.type", kind.__qualname__)
            self.span.set_status(trace.StatusCode.ERROR)
        fields["duration_s"] = round(seconds, 6)
        if seconds >= self.options.get("slow_s", inf):
            fields["slow"] = True
            level = "warning" if level in {"debug", "info"} else level
        getattr(get_logger(self.options.get("component", "business")), level)(
            "execution.ended", **fields
        )
