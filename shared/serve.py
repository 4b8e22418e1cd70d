"""Serves an application: bounds what clients may use, and drains before it stops."""

import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from plainview import get_logger
from plainview.logs import toggle_debug_on_signal
from shared.memory import collect_on_signal
from shared.settings import ServiceSettings
from shared.web.protocol import bounded_protocol

LAST_S = 0.3  # from closing the listener to closing idle connections
STOP_S = 19.0  # the process exits by then, whatever hangs: orchestrators kill it at 20 s or later


class DrainingServer(uvicorn.Server):
    """A server that stops gently on SIGTERM or SIGINT.

    It reports not ready and serves on for `drain_s` seconds, so that load balancers notice, then
    finishes open requests, flushes telemetry and exits 0. A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        super().__init__(config)
        self._drain_s = drain_s
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve; what is loaded by now stays, so no later collection looks at it again."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal; `on_tick` does the work, inside the event loop."""
        if self._stop_at is not None:
            os._exit(128 + sig)
        self._stop_at = time.monotonic() + self._drain_s
        watchdog = threading.Timer(STOP_S, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        self.should_exit = not self.started

    async def on_tick(self, counter: int) -> bool:
        """Advance the shutdown, if there is one; uvicorn calls this every 0.1 s."""
        if self._stop_at is not None:
            if not getattr(self.server_state, "draining", False):
                self._start_draining()
            if time.monotonic() >= self._stop_at:
                # Take no new connections. Those just accepted may have sent a request that is not
                # read yet, so wait LAST_S before connections are closed.
                for server in self.servers:
                    server.close()
                self.should_exit |= time.monotonic() >= self._stop_at + LAST_S
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
        # No listen() yet: connections are refused until the service is ready.
        listener.bind((settings.host, settings.port))
    except OSError as exc:
        where = f"{settings.host}:{settings.port}"
        print(f"cannot listen on {where}: {exc.strerror} (set PORT or HOST)", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None
    config = uvicorn.Config(
        app_factory(),
        http=bounded_protocol(settings.bounds(), settings.trusted_proxies),
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # plainview works out the client's address
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type] # a float serves
        timeout_graceful_shutdown=8,
    )
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    toggle_debug_on_signal()
    collect_on_signal()
    DrainingServer(config, settings.drain_seconds).run(sockets=[listener])
