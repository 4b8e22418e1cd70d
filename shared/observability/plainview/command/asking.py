"""Requests to a service that may be slow, broken or no service at all: bounded in time and size."""

import http.client
import secrets
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from plainview.context import REQUEST_ID_HEADER

LONGEST_BODY = 32 * 1024 * 1024  # bytes; a page of 100,000 series is about a third of it


class NoReply(Exception):
    """There was no reply that could be read; the text says why."""


@dataclass(frozen=True)
class Reply:
    """A reply as it came."""

    path: str
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float

    @property
    def content_type(self) -> str:
        """The media type without its parameters, "" if there is none."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()


class Service:
    """Asks one base URL; all requests together take `timeout_s` seconds at most, one a third."""

    def __init__(self, url: str, timeout_s: float, deadline: float | None = None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ValueError(f"{url!r} is no address such as http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self.deadline = deadline or time.monotonic() + timeout_s

    def get(self, path: str, **headers: str) -> Reply:
        """The reply to a GET of a path below the base URL; NoReply if there is none in time.

        `X_Request_ID` stands for the header X-Request-ID.
        """
        left = min(self.deadline - time.monotonic(), self._timeout_s / 3)
        if left <= 0:
            raise NoReply(f"not asked: the {self._timeout_s:g} s for everything were over")
        found: list[Reply | Exception] = []

        def ask() -> None:
            try:
                found.append(self._get(path, headers, left))
            except (OSError, http.client.HTTPException, ValueError) as error:
                found.append(error)

        # In a thread: a time-out of a socket is for each read, and there may be many.
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(left)
        if not found or isinstance(found[0], TimeoutError):
            raise NoReply(f"no whole reply within {left:.3g} s")
        if isinstance(found[0], Exception):
            raise NoReply(_why(found[0])) from found[0]
        return found[0]

    def _get(self, path: str, headers: dict[str, str], timeout_s: float) -> Reply:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        start = time.monotonic()
        connection = kind(self._host, self._port, timeout=timeout_s)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", self._prefix + path, headers=named)
            reply = connection.getresponse()
            body = reply.read(LONGEST_BODY + 1)
            if len(body) > LONGEST_BODY:
                raise ValueError(f"more than {LONGEST_BODY // 2**20} MiB")
            if reply.length:  # what is still missing of the announced length
                raise http.client.IncompleteRead(body, reply.length)
            return Reply(path, reply.status, reply.headers, body, time.monotonic() - start)
        finally:
            connection.close()


@dataclass(frozen=True)
class Asked:
    """A request with a request ID and a sampled trace of its own, and its reply."""

    request_id: str
    trace_id: str
    reply: Reply

    @classmethod
    def of(cls, service: Service, path: str) -> "Asked":
        """A GET of this path; NoReply if nothing comes back."""
        request_id, trace_id = f"check-{secrets.token_hex(6)}", secrets.token_hex(16)
        traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"
        headers = {REQUEST_ID_HEADER: request_id, "traceparent": traceparent}
        return cls(request_id, trace_id, service.get(path, **headers))


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    text = str(error) or type(error).__name__
    if isinstance(error, http.client.HTTPException):
        return f"that is not HTTP: {text[:100]}"
    return text[:200]
