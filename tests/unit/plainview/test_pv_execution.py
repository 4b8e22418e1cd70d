"""`log_execution` on functions of every kind: each stays what it is, its line says how it ended."""

import asyncio
import inspect

import pytest
from opentelemetry import trace

from plainview import execution
from plainview.execution import log_execution
from plainview.testing import captured_logs, captured_spans


@pytest.fixture
def lines():
    with captured_logs() as lines:
        yield lines


def outcomes(lines):
    return [line["outcome"] for line in lines]


class Boom(Exception):
    """One that nobody expects."""


@log_execution
def add(a: int, b: int = 2) -> int:
    """Adds."""
    if a < 0:
        raise Boom
    return a + b


@log_execution
async def add_async(a: int, b: int = 2) -> int:
    await asyncio.sleep(0)
    if a < 0:
        raise Boom
    return a + b


@log_execution
def count(n):
    """Counts; yields what is sent, and 99 for a Boom that is thrown in."""
    for i in range(n):
        try:
            sent = yield i
            if sent:
                yield len(sent)
        except Boom:
            yield 99
    return "end"


cleaned = []


@log_execution
async def count_async(n):
    try:
        for i in range(n):
            try:
                sent = yield i
                if sent:
                    yield len(sent)
            except Boom:
                yield 99
    finally:
        await asyncio.sleep(0)
        cleaned.append(n)


def test_kinds_and_signatures_stay():
    assert inspect.iscoroutinefunction(add_async)
    assert inspect.isgeneratorfunction(count)
    assert inspect.isasyncgenfunction(count_async)
    assert not inspect.iscoroutinefunction(add)
    assert str(inspect.signature(add)) == "(a: int, b: int = 2) -> int"
    assert (add.__name__, add.__doc__) == ("add", "Adds.")


def test_functions(lines):
    assert add(1) == 3
    with pytest.raises(Boom) as caught:
        add(-1)
    assert caught.value.__context__ is None
    ok, failed = lines
    assert (ok["event"], ok["function"], ok["outcome"]) == ("execution.ended", "add", "ok")
    assert (ok["level"], ok["component"]) == ("info", "business")
    assert "exception_type" not in ok
    assert (failed["level"], failed["outcome"]) == ("error", "error")
    assert failed["exception_type"] == "Boom"
    assert "exception_stacktrace" not in failed


async def test_coroutines_and_the_time_of_their_work(lines):
    assert await add_async(1, b=5) == 6
    with pytest.raises(Boom):
        await add_async(-1)
    task = asyncio.create_task(add_async(1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await log_execution(asyncio.sleep)(0.05)
    assert outcomes(lines) == ["ok", "error", "cancelled", "ok"]
    assert lines[2]["level"] == "info"
    assert lines[3]["duration_s"] >= 0.05


def drive(source):
    seen = [next(source), source.send("four"), next(source), source.throw(Boom())]

    def rest():
        seen.append((yield from source))

    return [*rest(), *seen]


def test_generators(lines):
    assert drive(count(4)) == drive(inspect.unwrap(count)(4))
    closed, thrown = count(4), count(4)
    next(closed)
    closed.close()
    next(thrown)
    with pytest.raises(KeyError):
        thrown.throw(KeyError("x"))
    count(4)  # never started: no line
    assert outcomes(lines) == ["ok", "cancelled", "error"]


async def drive_async(source):
    seen = [await anext(source), await source.asend("four"), await anext(source)]
    seen.append(await source.athrow(Boom()))
    return [*seen, *[item async for item in source]]


async def test_async_generators(lines):
    expected = await drive_async(inspect.unwrap(count_async)(4))
    assert await drive_async(count_async(4)) == expected
    closed, thrown = count_async(5), count_async(6)
    await anext(closed)
    await closed.aclose()
    assert cleaned[-1] == 5
    await anext(thrown)
    with pytest.raises(KeyError):
        await thrown.athrow(KeyError("x"))
    assert outcomes(lines) == ["ok", "cancelled", "error"]


class Shop:
    @log_execution(arguments=True)
    def sell(self, item, password, *more, **fields):
        fields.clear()
        return item

    @log_execution
    @classmethod
    def open(cls):
        return cls.__name__

    @log_execution
    @staticmethod
    def hours():
        return 8


def test_methods_and_masked_arguments(lines):
    assert Shop().sell("tea", "hunter2", 1, 2, token="abc", n=3) == "tea"
    assert (Shop.open(), Shop().hours()) == ("Shop", 8)
    assert lines[0]["function"] == "Shop.sell"
    fields = {"token": "***", "n": 3}
    expected = {"item": "tea", "password": "***", "more": [1, 2], "fields": fields}
    assert lines[0]["arguments"] == expected
    with pytest.raises(TypeError, match="missing"):  # of the function, as without the decorator
        add()


def test_options(lines):
    @log_execution(name="sum", component="job", level="debug", error_level="warning", slow_s=0)
    def slow(fail):
        if fail:
            raise Boom

    slow(False)
    with pytest.raises(Boom):
        slow(True)
    assert [line["level"] for line in lines] == ["warning", "warning"]
    assert lines[0]["slow"] is True
    assert (lines[0]["function"], lines[0]["component"]) == ("sum", "job")


async def test_spans(lines):
    @log_execution(span=True, name="outer")
    async def outer():
        with trace.get_tracer("t").start_as_current_span("inner"):
            await asyncio.sleep(0)

    @log_execution(span=True, name="source")
    def source():
        yield 1
        raise Boom

    with captured_spans() as spans:
        before = trace.get_current_span()
        await outer()
        values = source()
        next(values)
        assert trace.get_current_span() is before
        with pytest.raises(Boom):
            next(values)
    inner, parent, failed = spans
    assert (inner.name, parent.name, failed.name) == ("inner", "outer", "source")
    assert inner.parent_id == parent.span_id == lines[0]["span_id"]
    assert failed.attributes["error.type"] == "Boom"


@pytest.mark.parametrize("broken", ["get_logger", "mask"])
def test_broken_telemetry_never_reaches_the_host(broken, monkeypatch):
    @log_execution(arguments=True)
    def work(a):
        return a

    def fail(*args):
        raise RuntimeError("telemetry")

    monkeypatch.delenv("PLAINVIEW_STRICT")
    monkeypatch.setattr(execution, broken, fail)
    assert work(3) == 3
