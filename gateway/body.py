"""The body of a request: read whole before an upstream is asked, and checked."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gateway.headers import Headers
from shared.errors import BadRequest


async def read_body(receive: Receive, headers: Headers, most: int) -> bytes:
    """The whole body.

    An HTTPException with status 413 if it has more than `most` bytes, BadRequest if its length is
    not the announced one, ClientDisconnect if the client leaves before its end.
    """
    announced = announced_length(headers)
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if not announced and not chunked:
        return b""
    check_not_upgraded(headers)
    if announced is not None and announced > most:
        raise HTTPException(413)
    parts: list[bytes] = []
    read, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        parts.append(part)
        read += len(part)
        if read > most:
            raise HTTPException(413)
        more = message.get("more_body", False)
    check_complete(announced, read)
    return b"".join(parts)


def announced_length(headers: Headers) -> int | None:
    """The value of `Content-Length`; None without one, as the body is chunked or there is none."""
    lengths = [value for name, value in headers if name == b"content-length"]
    if not lengths:
        return None
    if len(lengths) != 1 or not lengths[0].isdigit():
        raise BadRequest("The length of the body is not a number")
    return int(lengths[0])


def check_not_upgraded(headers: Headers) -> None:
    """Raise BadRequest for a body with `Upgrade`, as its end may not have been parsed.

    HTTP parsers end a message after the head of a request to upgrade, whatever its length. Our
    own server removes such headers and reads on, so this matters only under another server.
    """
    asked = [value.lower() for name, value in headers if name == b"connection"]
    if any(name == b"upgrade" for name, _ in headers) and b"upgrade" in b",".join(asked):
        raise BadRequest("A request with a body cannot ask for another protocol")


def check_complete(announced: int | None, read: int) -> None:
    """Raise BadRequest if a length was announced and another one was read."""
    if announced is not None and announced != read:
        raise BadRequest("The body is not as long as was announced", code="body_incomplete")
