"""`@log_execution`: one log line per call, whatever the kind of function."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from opentelemetry import trace

from .guarded import guarded
from .logs import Component, get_logger
from .masking import mask

F = TypeVar("F", bound=Callable[..., Any])
Level = Literal["debug", "info", "warning", "error", "critical"]


@overload
def log_execution(function: F, /) -> F: ...


@overload
def log_execution(
    *,
    name: str | None = None,
    component: Component = "business",
    level: Level = "info",
    error_level: Level = "error",
    slow_s: float | None = None,
    arguments: bool = False,
    span: bool = False,
) -> Callable[[F], F]: ...


def log_execution(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Log `execution.ended` with `function`, `outcome` (ok, error, cancelled) and `duration_s`.

    For functions, coroutine functions, generators and asynchronous ones (from the first value to
    the end; closed early is cancelled) and methods. Result, exception and signature stay as they
    are; of an exception only the type is logged, since whoever handles it knows what it means.

    `level` is that of success and cancellation, `error_level` that of errors; calls of `slow_s`
    seconds or more are at least warnings, with `slow`. `arguments` adds them, masked and bounded.
    `span` makes a span, too; of generators it is not the parent of what happens inside.
    """
    if function is None:
        return functools.partial(_decorate, _Options(**options))
    return _decorate(_Options(**options), function)


@dataclass(frozen=True, kw_only=True)
class _Options:
    name: str | None = None
    component: Component = "business"
    level: Level = "info"
    error_level: Level = "error"
    slow_s: float | None = None
    arguments: bool = False
    span: bool = False


def _decorate(options: _Options, function: Any) -> Any:
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
        self,
        options: _Options,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        attach: bool = True,
    ) -> None:
        self.options = options
        self.function = function
        self.args, self.kwargs = args, kwargs
        self.attach = attach
        self.fields: dict[str, Any] = {}
        self.span: trace.Span | None = None
        self.stack = ExitStack()

    def __enter__(self) -> None:
        with guarded("execution"):
            name = getattr(self.function, "__qualname__", type(self.function).__name__)
            self.fields["function"] = self.options.name or name
            if self.options.arguments:  # now, since the function may change them
                self.fields["arguments"] = self._arguments()
            if self.options.span:
                self.span = trace.get_tracer(__name__).start_span(self.fields["function"])
                if self.attach:
                    use = trace.use_span(self.span, False, False, False)
                    self.stack.enter_context(use)
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
            if self.span is not None:
                self.span.end()

    def _log(self, kind: type[BaseException] | None, seconds: float) -> None:
        options, fields = self.options, self.fields
        level: Level = options.level
        fields["outcome"] = "ok"
        if kind is not None and issubclass(kind, (asyncio.CancelledError, GeneratorExit)):
            fields["outcome"] = "cancelled"
        elif kind is not None:
            fields["outcome"], level = "error", options.error_level
            fields["exception_type"] = kind.__qualname__
            if self.span is not None:
                self.span.set_attribute("error.type", kind.__qualname__)
                self.span.set_status(trace.StatusCode.ERROR)
        fields["duration_s"] = round(seconds, 6)
        if options.slow_s is not None and seconds >= options.slow_s:
            fields["slow"] = True
            level = "warning" if level in {"debug", "info"} else level
        getattr(get_logger(options.component), level)("execution.ended", **fields)

    def _arguments(self) -> Any:
        bound = inspect.signature(self.function).bind(*self.args, **self.kwargs).arguments
        return mask({k: v for k, v in bound.items() if k not in {"self", "cls"}})
