"""Redis: latency and failures of `redis.asyncio` commands, spans without arguments.

A pipeline counts as one operation, `PIPELINE`. Reads that wait for new data (`XREADGROUP ...
BLOCK`, `BLPOP`) are operations of their own, `XREADGROUP_BLOCK`: their time is not latency.
Cancelled commands are not counted: their caller went away.
"""

import re
import threading
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from opentelemetry.instrumentation.redis import RedisInstrumentor
from redis import exceptions
from redis.asyncio.client import Pipeline
from wrapt import BoundFunctionWrapper, wrap_function_wrapper

from .. import tracing
from ..guarded import guarded
from ..signals import DB_CONNECTION_FAILURES, DB_OPERATION_DURATION, DB_OPERATION_FAILURES
from . import start_at_zero

SYSTEM = "redis"
_WORD = re.compile(r"[A-Z.]{2,20}")
_WAITING = ("XREAD", "XREADGROUP")
# Normal answers, not failures: a script has to be loaded, a transaction has to be repeated.
_EXPECTED = (exceptions.NoScriptError, exceptions.WatchError)


def operation(args: tuple[Any, ...]) -> str:
    """The name of a command in metrics: its first word, without keys or values."""
    words = str(args[0]).upper().split() if args else []
    name = words[0] if words and _WORD.fullmatch(words[0]) else "_OTHER"
    # the option BLOCK comes before STREAMS, among the first arguments
    if name in _WAITING and any(arg in ("BLOCK", b"BLOCK") for arg in args[1:7]):
        name += "_BLOCK"
    return name


def error_type(error: BaseException) -> str | None:
    """Which kind of failure an exception is; None for a normal answer."""
    if isinstance(error, _EXPECTED) or "BUSYGROUP" in str(error):
        return None
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return "timeout"
    if isinstance(error, (exceptions.ConnectionError, OSError)):
        return "unavailable"
    return "rejected" if isinstance(error, exceptions.ResponseError) else "other"


async def _measure(
    wrapped: Callable[..., Awaitable[Any]],
    client: Any,
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    pipeline = isinstance(client, Pipeline)
    if pipeline and not len(client):  # an empty pipeline sends nothing
        return await wrapped(*args, **options)
    name = "PIPELINE" if pipeline else operation(args)
    if isinstance(wrapped, BoundFunctionWrapper) and tracing.left_out():
        wrapped = wrapped.__wrapped__  # without OpenTelemetry's instrumentation
    start = perf_counter()
    try:
        reply = await wrapped(*args, **options)
    except Exception as error:
        _observe(name, start)
        with guarded("redis"):
            kind = error_type(error)
            if kind is not None:
                DB_OPERATION_FAILURES.inc(db_system_name=SYSTEM, error_type=kind)
            if kind == "unavailable":
                DB_CONNECTION_FAILURES.inc(db_system_name=SYSTEM)
        raise
    _observe(name, start)
    return reply


def _observe(name: str, start: float) -> None:
    DB_OPERATION_DURATION.observe(
        perf_counter() - start, db_system_name=SYSTEM, db_operation_name=name
    )


def _name_pipeline(span: Any, _client: object, _reply: object) -> None:
    # the instrumentation's name joins all commands, which has no bound
    if " " in getattr(span, "name", ""):
        span.update_name("PIPELINE")


_installed = threading.Lock()  # acquired once and for good


def instrument() -> None:
    """Wrap the classes of `redis.asyncio`, so clients made before are measured too."""
    if _installed.acquire(blocking=False):
        start_at_zero(SYSTEM)
        RedisInstrumentor().instrument(response_hook=_name_pipeline)
        wrap_function_wrapper("redis.asyncio.client", "Redis.execute_command", _measure)
        wrap_function_wrapper("redis.asyncio.client", "Pipeline.execute", _measure)
