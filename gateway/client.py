"""Calls of one upstream over HTTP, with deadlines, a budget of retries and a circuit breaker."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx

from gateway import signals
from gateway.breaker import Breaker, RetryBudget
from shared.errors import BadGateway, Timeout, TooMany, Unavailable
from shared.web.upstream_connection import BadReply, ReplyTooLarge, SlowReader

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


class UpstreamUnavailable(Unavailable):
    """The upstream refused or broke the connection, or was not called as the breaker is open."""

    code = "upstream_unavailable"


class UpstreamTimeout(Timeout):
    """The upstream did not answer within the deadline."""

    code = "upstream_timeout"


class UpstreamReplyInvalid(BadGateway):
    """The upstream's reply is invalid or too large to be passed on."""

    code = "upstream_reply_invalid"


class Places:
    """Bounds calls in flight to `total` in all and to `share` of one client."""

    def __init__(self, total: int, share: int) -> None:
        self._total, self._share = total, share
        self._taken: Counter[str] = Counter()
        self.taken = 0

    def take(self, client: str) -> Callable[[], None]:
        """Take a place; what gives it back, however often it is called.

        TooMany if the client has its share, Unavailable if all are taken.
        """
        if self._taken[client] >= self._share:
            raise TooMany("Too many of your requests are under way", code="too_many_in_flight")
        if self.taken >= self._total:
            raise Unavailable("Too many requests are under way", code="busy", retry_after=1)
        self._taken[client] += 1
        self.taken += 1
        held = [client]

        def give_back() -> None:
            if held:
                self._free(held.pop())

        return give_back

    def _free(self, client: str) -> None:
        self.taken -= 1
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


class UpstreamClient:
    """Calls of one upstream through `transport`.

    The breaker counts only failures of the upstream: it refuses or breaks the connection, or does
    not answer in time after the whole request was sent. `reply_s` are the seconds from the end of
    sending a request to the head of its reply, `idle_s` those between two parts of the reply. A
    whole reply has no deadline: it may take any time while parts keep coming.
    """

    def __init__(
        self,
        name: signals.Upstream,
        base_url: str,
        transport: httpx.AsyncBaseTransport,
        *,
        places: Places,
        connect_s: float = 1.0,
        reply_s: float = 5.0,
        idle_s: float = 60.0,
        breaker_open_s: float = 10.0,
    ) -> None:
        self.name, self.transport = name, transport
        self._base, self._places = httpx.URL(base_url), places
        self._prefix = self._base.raw_path.rstrip(b"/")
        self._timeout = {"connect": connect_s, "read": reply_s, "idle": idle_s}
        self._budget = RetryBudget()
        self.breaker = Breaker(lambda is_open: signals.breaker_open(name, is_open), breaker_open_s)

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        client: str,
        retry: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request for `target` (path and query) on behalf of `client`; its response.

        The head of the response has come, its body is read inside the block. Raises
        UpstreamUnavailable, UpstreamTimeout and UpstreamReplyInvalid, also when the reply breaks
        off inside the block; TooMany if the client has its share of calls in flight. Leaving the
        block early closes the connection. The place in flight is freed when the upstream has sent
        its whole reply, however slowly the client reads it.
        """
        period = self.breaker.allow()
        if not period:
            signals.fast_failure(self.name)
            raise UpstreamUnavailable(
                f"{self.name} is not available", retry_after=self.breaker.retry_after
            )
        try:
            give_back = self._places.take(client)
        except BaseException:
            self.breaker.abandoned(period)
            raise
        try:
            self._budget.deposit()
            request = httpx.Request(
                method,
                self._base,
                headers=headers,
                stream=httpx.ByteStream(body),
                extensions={
                    "timeout": self._timeout,
                    "target": self._prefix + target,
                    "on_end": give_back,
                },
            )
            response = await self._send(request, retry)
            self.breaker.succeeded(period)
            try:
                yield response
            finally:
                await response.aclose()
        except ReplyTooLarge as exc:
            self.breaker.succeeded(period)
            raise UpstreamReplyInvalid(
                f"{self.name}: {exc}", code="upstream_reply_too_large"
            ) from exc
        except BadReply as exc:
            self.breaker.failed(period)
            raise UpstreamReplyInvalid(f"{self.name} gave no valid reply") from exc
        except (httpx.ReadTimeout, httpx.WriteTimeout) as exc:
            self.breaker.failed(period)
            raise UpstreamTimeout(f"{self.name} did not answer in time") from exc
        except httpx.TransportError as exc:
            if not isinstance(exc, SlowReader):
                self.breaker.failed(period)
            raise UpstreamUnavailable(f"{self.name} is not available", retry_after=1) from exc
        finally:
            give_back()
            self.breaker.abandoned(period)

    async def _send(self, request: httpx.Request, retry: bool) -> httpx.Response:
        while True:
            try:
                return await self.transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError) as error:
                # one retry, and only before a response started
                if not retry or self.breaker.is_open or isinstance(error, BadReply):
                    raise
                retry = False
                if not self._budget.withdraw():
                    signals.retry(self.name, "budget_exhausted")
                    raise
                # A retried attempt is no failure for the breaker: a stopping replica closes several
                # connections at once, and the retry reaches another replica.
                signals.retry(self.name, "retried")
            await asyncio.sleep(random.uniform(0.02, 0.06))  # noqa: S311 - spreads retries
