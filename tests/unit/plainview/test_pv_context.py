import asyncio
import re

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from plainview import context
from plainview.context import (
    bind_user,
    current,
    new_request_id,
    request_context,
    request_id,
    trace_id,
    user_pseudonym,
)


def test_outside_of_a_request_nothing_is_known():
    bind_user("u1")  # changes nothing, raises nothing
    assert (request_id(), trace_id(), current()) == (None, None, None)


def test_contexts_nest_and_end():
    with request_context("outer-id") as outer:
        assert request_id() == "outer-id"
        with request_context():
            assert re.fullmatch(r"[0-9a-f]{32}", request_id())
        assert current() is outer
    assert current() is None
    assert new_request_id() != new_request_id()


async def test_tasks_share_the_context_but_not_its_replacement():
    async def work() -> None:
        bind_user("u1")
        with request_context("other-id"):
            await asyncio.sleep(0)

    with request_context("first-id") as first:
        await asyncio.gather(work(), work())
        assert request_id() == "first-id"
        assert first.user_id == user_pseudonym("u1")


async def test_a_context_closed_by_another_task_does_no_harm():
    async def values():
        with request_context("generator-id"):
            yield 1

    source = values()
    await asyncio.create_task(anext(source))
    await asyncio.create_task(source.aclose())
    assert current() is None


def test_pseudonyms_depend_on_the_key_alone(monkeypatch):
    monkeypatch.setattr(context, "_key", b"")  # restored afterwards
    context.set_user_hash_key("k" * 16)
    first = user_pseudonym("u1")
    # HMAC-SHA256("kkkkkkkkkkkkkkkk", "u1"), computed with OpenSSL
    assert first == "a57d21c93eef03e9"
    assert user_pseudonym("u2") != first
    context.set_user_hash_key("j" * 16)
    assert user_pseudonym("u1") != first
    context.set_user_hash_key(None)  # a random one, of this process
    assert user_pseudonym("u1") == user_pseudonym("u1")
    assert user_pseudonym("u1") != first


def test_trace_id_is_that_of_the_span():
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        assert trace_id() == trace.format_trace_id(span.get_span_context().trace_id)
