"""Serve an application: bounded against slow and malformed clients, drained before it stops."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from plainview import REQUEST_ID_HEADER, get_logger, new_request_id
from plainview.logs import toggle_debug_on_signal
from shared.settings import ServiceSettings

MAX_HEAD = 16 * 1024
MAX_FIELDS = 100  # of one head: libraries look fields up one by one, or in the square of that
MESSAGE_S = 10.0  # from the first byte of a request to its last
LINGER_S = 0.5
KEEP_ALIVE_S = 30  # clients of ours drop an idle connection after 15 s, so theirs is the choice
STOP_S = 19.0  # after a signal, whatever hangs: orchestrators kill at 20 s or later


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for a request's arrival and a cap on its head."""

    _head = 0
    _in_head = False
    _arriving = False
    _refusal = 400
    _refused = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        head = self._head
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._in_head:  # a header of which the parser has not seen the end
            self._head = max(self._head, head + len(data))
            self._check_head()
            if self._refusal != 400:
                self.send_400_response("")
        elif self._deadline is None and self.timeout_keep_alive_task is None and self._idle:
            self._arm()  # line feeds between requests end no keep-alive for good

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head, self._in_head, self._arriving = 0, True, True
        self._arm()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head += len(url)
        self._check_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head += len(name) + len(value) + 4
        self._check_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.headers) > MAX_FIELDS:
            self._refusal = 431
        if self._refusal != 400:
            raise ValueError("head too large")  # the parser stops, data_received refuses
        super().on_headers_complete()
        if getattr(self.server_state, "draining", False):
            self.cycle.keep_alive = False  # pooled clients go elsewhere after this reply

    def on_message_complete(self) -> None:
        self._arriving = False
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._arriving and not self.pipeline and self._deadline is None:
            self.transport.close()  # answered, and its body is late: nobody waits for it

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _check_head(self) -> None:
        if self._head > MAX_HEAD:
            self._refusal = 431

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(MESSAGE_S, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if not self._idle:  # BodyLimit answers; what comes after that is not waited for
            self.cycle.keep_alive = False
        elif self._in_head:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer in the place of the application, which has not seen the request, and close."""
        request_id, title = new_request_id(), HTTPStatus(status).phrase
        document = {
            "type": "about:blank",
            "title": title,
            "status": status,
            "code": title.lower().replace(" ", "_"),
            "request_id": request_id,
        }
        body = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status} {title}\r\n"
            "content-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n"
            f"{REQUEST_ID_HEADER.lower()}: {request_id}\r\n"
            "connection: close\r\n\r\n"
        )
        self._disarm()
        self._refused = True
        if not self._idle:
            if self._in_head or self.pipeline or self.cycle.response_started:
                self.transport.close()  # it would land in the middle of another reply
                return
            self.cycle.disconnected = True  # of this request the application saw the head
            self.cycle.message_event.set()
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        # what still arrives is dropped: closing upon it would take the answer away from the client
        self.loop.call_later(LINGER_S, self.transport.close)


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT: not ready, serve on for `drain_s`, finish, flush, exit 0.

    A second signal ends the process at once.
    """

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        super().__init__(config)
        self._drain_s = drain_s
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler; the work is done in `on_tick`, inside the event loop."""
        if self._stop_at is not None:
            os._exit(128 + sig)
        self._stop_at = time.monotonic() + self._drain_s
        watchdog = threading.Timer(STOP_S, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        self.should_exit = not self.started

    async def on_tick(self, counter: int) -> bool:
        """Every 0.1 s."""
        if self._stop_at is not None:
            if not getattr(self.server_state, "draining", False):
                self._start_draining()
            self.should_exit = self.should_exit or time.monotonic() >= self._stop_at
        return await super().on_tick(counter)

    def _start_draining(self) -> None:
        self.server_state.draining = True  # type: ignore[attr-defined]
        get_logger("http").info("server.draining", seconds=self._drain_s)
        app: Any = self.config.app
        observability = getattr(app.state, "observability", None)
        if observability is not None:
            observability.start_draining()


def run(app_factory: Callable[[], FastAPI], settings: ServiceSettings) -> None:
    """Serve until a signal; exits 1 with one line if the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))  # not listening yet: refused until ready
    except OSError as exc:
        where = f"{settings.host}:{settings.port}"
        print(f"cannot listen on {where}: {exc.strerror} (set PORT or HOST)", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None
    config = uvicorn.Config(
        app_factory(),
        http=BoundedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who the client is, the gateway decides
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=8,
    )
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    toggle_debug_on_signal()
    DrainingServer(config, settings.drain_seconds).run(sockets=[listener])
