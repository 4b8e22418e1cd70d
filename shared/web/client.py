"""One upstream over HTTP: pooled, bounded in time, retried within a budget, cut off when dead."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import ceil
from typing import Protocol

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from shared.errors import Timeout, Unavailable

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
#: everything that the transport raises when a peer is away or breaks off
_BROKEN = (httpx.TransportError, aiohttp.ClientError)


def _nothing() -> None: ...


class UpstreamUnavailable(Unavailable):
    """The upstream does not answer, or is not asked because it lately did not."""

    code = "upstream_unavailable"


class UpstreamTimeout(Timeout):
    """The upstream did not answer within the deadline."""

    code = "upstream_timeout"


class Hooks(Protocol):
    """What a client tells about itself; `outcome` is "retried" or "budget_exhausted"."""

    def breaker_open(self, upstream: str, is_open: bool) -> None: ...
    def retry(self, upstream: str, outcome: str) -> None: ...
    def fast_failure(self, upstream: str) -> None: ...


class Content(Protocol):
    """A request body: whole as bytes, or as chunks while it arrives."""

    #: called when the last chunk is there; a deadline for the upstream starts then
    on_end: Callable[[], None]
    #: whether all of it is there
    complete: bool
    #: why its sender failed, if so: then the upstream is not to blame
    error: BaseException | None

    @property
    def replayable(self) -> bool:
        """Whether `open` gives the same again."""

    def open(self) -> bytes | AsyncIterator[bytes] | None:
        """The body from its start."""


class Breaker:
    """Closed; open after `failures` in a row; after `open_s` seconds one trial at a time."""

    def __init__(
        self,
        failures: int = 5,
        open_s: float = 10.0,
        on_change: Callable[[bool], None] = lambda is_open: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._open_s, self._on_change, self._clock = failures, open_s, on_change, clock
        self._failures = 0
        self._open_until: float | None = None
        self._trial = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, but for a trial now and then."""
        return self._open_until is not None

    @property
    def retry_after(self) -> int:
        """Whole seconds until a trial can be let through, at least 1."""
        return max(1, ceil((self._open_until or 0) - self._clock()))

    def allow(self) -> bool:
        """Whether a call may be made; its outcome has to be reported, or `abandoned()`."""
        if self._open_until is None:
            return True
        if self._trial or self._clock() < self._open_until:
            return False
        self._trial = True
        return True

    def succeeded(self) -> None:
        """The upstream answered, whatever it said."""
        self._failures, self._trial = 0, False
        if self._open_until is not None:
            self._open_until = None
            self._on_change(False)

    def failed(self) -> None:
        """The upstream was away, broke off, or did not answer in time."""
        self._failures += 1
        if self._open_until is None and self._failures < self._limit:
            return
        if self._open_until is None or self._trial:
            self._open_until, self._trial = self._clock() + self._open_s, False
            self._on_change(True)

    def abandoned(self) -> None:
        """The caller gave up before there was an outcome."""
        self._trial = False


class RetryBudget:
    """Retries are at most `ratio` of the calls, plus `floor`."""

    def __init__(self, ratio: float = 0.2, floor: float = 3.0, ceiling: float = 20.0) -> None:
        # the ceiling: an hour without failures must not pay for a storm of retries
        self._ratio, self._tokens, self._ceiling = ratio, floor, ceiling

    def deposit(self) -> None:
        """A call is made."""
        self._tokens = min(self._ceiling, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Whether one more retry is within the budget; if so it is taken."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def pooled_client(max_connections: int = 128) -> httpx.AsyncClient:
    """An HTTP client that adds nothing of its own: no cookies kept, no headers, no redirects.

    Cookies would be shared among all users, and an `Accept-Encoding` of ours would give the
    user an encoding that he cannot read. Environment proxies are not for calls inside.
    """

    def session() -> aiohttp.ClientSession:
        made = aiohttp.ClientSession(
            # 15 s: below the 30 s after which our servers close an idle connection
            connector=aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=15),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )
        # it would repeat what is idempotent by itself, past the budget; there is no other switch
        made._retry_connection = False
        return made

    client = HttpxAiohttpClient(
        transport=AiohttpTransport(client=session),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=1.0),  # calls have a deadline; connecting is quick
    )
    client.headers.clear()
    return client


class UpstreamClient:
    """Calls of one upstream through `http`; times in seconds.

    More than `max_in_flight` calls at once are refused at once: they would only wait.
    `upload_s` bounds how long a body may take to come; the deadline starts after it.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        http: httpx.AsyncClient,
        hooks: Hooks,
        *,
        deadline_s: float = 5.0,
        upload_s: float = 15.0,
        max_in_flight: int = 512,
        breaker_failures: int = 5,
        breaker_open_s: float = 10.0,
        budget: RetryBudget | None = None,
    ) -> None:
        self.name, self._base, self.http, self._hooks = name, base_url.rstrip("/"), http, hooks
        self._deadline_s, self._upload_s = deadline_s, upload_s
        self._max_in_flight, self._in_flight = max_in_flight, 0
        self._budget = budget or RetryBudget()
        self.breaker = Breaker(
            breaker_failures, breaker_open_s, lambda is_open: hooks.breaker_open(name, is_open)
        )

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: Content,
        *,
        retry: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        """The started response to a request for `target` (path and query); its body is not read.

        Raises UpstreamUnavailable and UpstreamTimeout, also when the body breaks off while it
        is read inside the block; leaving the block early closes the connection.
        """
        if self._in_flight >= self._max_in_flight:
            raise UpstreamUnavailable(f"{self.name} is busy", retry_after=1)
        if not self.breaker.allow():
            self._hooks.fast_failure(self.name)
            raise UpstreamUnavailable(
                f"{self.name} is not available", retry_after=self.breaker.retry_after
            )
        self._in_flight += 1
        self._budget.deposit()
        loop = asyncio.get_running_loop()
        wait_s = self._deadline_s + (0 if body.complete else self._upload_s)
        timer = asyncio.timeout(wait_s)
        body.on_end = lambda: timer.reschedule(loop.time() + self._deadline_s)
        try:
            async with timer:
                response = await self._send(method, target, headers, body, retry)
                self.breaker.succeeded()
                try:
                    yield response
                finally:
                    await response.aclose()
        except TimeoutError as exc:
            if not timer.expired():
                raise
            if body.complete:  # else its sender was slow, not the upstream
                self.breaker.failed()
            raise UpstreamTimeout(f"{self.name} did not answer in time") from exc
        except _BROKEN as exc:
            if body.error is not None:
                raise body.error from None
            self.breaker.failed()
            raise UpstreamUnavailable(f"{self.name} is not available", retry_after=1) from exc
        finally:
            body.on_end = _nothing
            self._in_flight -= 1
            self.breaker.abandoned()

    async def _send(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: Content,
        retry: bool,
    ) -> httpx.Response:
        url = httpx.URL(self._base + target)
        while True:
            request = httpx.Request(
                method,
                url,
                headers=list(headers),
                content=body.open(),
                extensions={"timeout": self.http.timeout.as_dict()},
            )
            try:
                return await self.http.send(request, stream=True)
            except _BROKEN:
                if not retry or body.error is not None or not body.replayable:
                    raise
                retry = False  # one retry, and only before a response started
                if self.breaker.is_open:
                    raise
                if not self._budget.withdraw():
                    self._hooks.retry(self.name, "budget_exhausted")
                    raise
                self.breaker.failed()
                self._hooks.retry(self.name, "retried")
            await asyncio.sleep(random.uniform(0.02, 0.06))  # noqa: S311 - spreads, hides nothing
