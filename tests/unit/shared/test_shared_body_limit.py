"""BodyLimit by the messages it passes on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from shared.web.body_limit import BodyLimit

Message = dict[str, Any]


async def drive(app: Any, messages: Iterator[Message], **scope: Any) -> tuple[list[Message], int]:
    """What was sent, and the bytes that were taken before the answer began."""
    sent: list[Message] = []
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        try:
            message = next(messages)
        except StopIteration:
            await asyncio.sleep(3600)
            raise AssertionError from None
        taken += 0 if sent else len(message.get("body", b""))
        return message

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "headers": [], **scope}, receive, send)
    return sent, taken


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    try:
        while (await receive()).get("more_body"):
            pass
    except HTTPException as refusal:  # as frameworks do
        status = refusal.status_code
    else:
        status = 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def chunks(count: int) -> Iterator[Message]:
    for number in range(count):
        yield {"type": "http.request", "body": b"x" * 1000, "more_body": number < count - 1}


@pytest.mark.parametrize(
    ("count", "headers", "status", "most"),
    [
        (10, [], 200, 10_000),
        (200, [], 413, 11_000),
        (200, [(b"content-length", b"10001")], 413, 0),  # before a byte is read
    ],
)
async def test_a_refusal_has_our_form_and_closes(count, headers, status, most):
    app = BodyLimit(RequestBodyLimitMiddleware(reads_all, max_body_size=10_000))
    sent, taken = await drive(app, chunks(count), headers=headers)
    assert [m["status"] for m in sent if m["type"] == "http.response.start"] == [status]
    assert taken <= most
    assert sent[-1]["type"] == "http.response.body"
    assert not sent[-1].get("more_body")
    ours = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    assert [each in sent[0]["headers"] for each in ours] == [status == 413] * 2


async def test_late_body_is_408_but_a_late_answer_is_fine():
    app = BodyLimit(reads_all, receive_s=0.1)
    first = {"type": "http.request", "body": b"x", "more_body": True}
    sent, _ = await drive(app, iter([first]))
    assert sent[0]["status"] == 408

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        gone = asyncio.create_task(receive())  # until the client leaves
        await asyncio.sleep(0.2)
        assert not gone.done()
        gone.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent, _ = await drive(BodyLimit(waits, receive_s=0.1), chunks(1))
    assert sent[0]["status"] == 200


async def test_other_scopes_pass():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": scope["type"]})

    sent, _ = await drive(BodyLimit(app), iter(()), type="lifespan")
    assert sent == [{"type": "lifespan"}]
