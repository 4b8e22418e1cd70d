"""The gateway over real sockets, and small upstreams that do as a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.deps import Deps, connect
from gateway.limits import Limits
from gateway.main import create_app
from gateway.settings import Settings
from shared.web.protocol import BoundedProtocol, Bounds, bounded_protocol
from tests.support.waiting import soon

NOWHERE = "http://127.0.0.1:1"
MANY = "1000000/minute"


@asynccontextmanager
async def served(app: ASGIApp, server: type[BoundedProtocol] | None = None) -> AsyncIterator[str]:
    """Serve by the protocol that shared.serve uses, or by a test's own; the URL."""
    server_protocol = server or bounded_protocol(Bounds())
    config = uvicorn.Config(
        app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False
    )
    config.proxy_headers = False
    config.load()
    state = ServerState()

    def protocol() -> BoundedProtocol:
        return server_protocol(config=config, server_state=state, app_state={})

    listener = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for connection in list(state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """A server that speaks in bytes, as no HTTP library would; the URL."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@dataclass
class Seen:
    """A request as an upstream got it; `target` is path and query as sent."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    cancelled: bool = False

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Upstream:
    """Records requests, waits for `delay_s`, answers with what is set or as `app` does."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b"{}"
    delay_s: float = 0
    app: Callable[[Scope, Receive, Send], Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = scope["raw_path"].decode()
        if target == "/health/live":
            return await self._answer(send)
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode()
        names = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        seen = Seen(scope["method"], target, names)
        self.seen.append(seen)
        if self.app is not None:
            return await self.app(scope, receive, send)
        if not await self._read(seen, receive):
            return None
        if self.delay_s:
            leaving = asyncio.ensure_future(receive())
            await asyncio.wait({leaving}, timeout=self.delay_s)
            if leaving.done():
                seen.cancelled = True
                return None
            leaving.cancel()
        return await self._answer(send)

    async def _read(self, seen: Seen, receive: Receive) -> bool:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                seen.cancelled = True
                return False
            seen.body += message.get("body", b"")
            more = message.get("more_body", False)
        return True

    async def _answer(self, send: Send) -> None:
        headers = [*self.headers, (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@asynccontextmanager
async def upstream(**more: Any) -> AsyncIterator[Upstream]:
    fake = Upstream(**more)
    async with served(fake) as fake.url:
        yield fake


def gateway_settings(**more: Any) -> Settings:
    values = {
        "user_hash_key": "k" * 32,
        "redis_url": "redis://127.0.0.1:1",
        "auth_url": NOWHERE,
        "event_url": NOWHERE,
        "log_format": "json",
        "rate_limit_user": MANY,
        "rate_limit_address": MANY,
        "rate_limit_sign_in": MANY,
        "upstream_max_in_flight_per_client": 512,
    }
    return Settings(**{**values, **more})


@dataclass
class Gateway:
    """`client` talks to it as anybody, `talk` sends bytes as they are."""

    app: FastAPI
    url: str
    client: httpx.AsyncClient

    @property
    def deps(self) -> Deps:
        return self.app.state.deps  # type: ignore[no-any-return]

    async def talk(self, data: bytes, wait_s: float = 3.0) -> bytes:
        """Send bytes; everything that comes until the server closes or `wait_s` is over."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(self.url.rpartition(":")[2])
        )
        writer.write(data)
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(wait_s):
                while chunk := await reader.read(65536):
                    got += chunk
        writer.close()
        return got

    async def becomes(self, status: int, path: str = "/health/ready") -> httpx.Response:
        """The first reply with this status; ready is who has asked all dependencies once."""

        async def reply() -> httpx.Response | None:
            got = await self.client.get(path)
            return got if got.status_code == status else None

        return await soon(reply, what=f"{status} of {path}")  # type: ignore[return-value]

    async def get(self, target: str, *headers: str, wait_s: float = 3.0) -> tuple[int, str]:
        """Status and body for a request target that no client would send."""
        lines = [f"GET {target} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        head, _, body = (await self.talk("\r\n".join(lines).encode("latin-1"), wait_s)).partition(
            b"\r\n\r\n"
        )
        return int(head.split()[1]), body.decode()


@asynccontextmanager
async def gateway(
    *,
    redis: bool = False,
    document: dict[str, Any] | None = None,
    server: type[BoundedProtocol] = BoundedProtocol,
    **more: Any,
) -> AsyncIterator[Gateway]:
    """All of it is real; without `redis` limits are local. `server` may be a test's own."""
    settings = gateway_settings(**more)
    bounded = bounded_protocol(settings.bounds(), settings.trusted_proxies, server)
    async with AsyncExitStack() as stack:
        deps = connect(settings, stack)
        if not redis:
            deps = replace(deps, limits=Limits(None, settings.rate_limits))
        app = create_app(settings, deps, document)
        async with (
            app.router.lifespan_context(app),
            served(app, bounded) as url,
            httpx.AsyncClient(base_url=url, verify=False, trust_env=False, timeout=10) as client,
        ):
            yield Gateway(app, url, client)
