"""Calls spread over the replicas of an upstream, also over those that come and go."""

import asyncio
from collections import Counter
from contextlib import aclosing

import httpx
import pytest

from gateway.client import Places, UpstreamClient, UpstreamUnavailable
from shared.web import transport
from shared.web.transport import UpstreamTransport
from tests.support.servers import free_port
from tests.support.waiting import soon

ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]  # all of 127.0.0.0/8 is this machine on Linux


class Names:
    """Looks up a name as Docker's DNS does: the addresses of all replicas that there are."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = [*addresses]
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        assert host == "event"
        self.asked += 1
        return [*self.addresses]


class Platform:
    """Replicas of a server on one port, and calls of them by name."""

    def __init__(self, names: Names) -> None:
        self.port, self.seen, self.names = free_port(), Counter[str](), names
        url = f"http://event:{self.port}"
        self.client = UpstreamClient(
            "event", url, UpstreamTransport(url, names), places=Places(99, 99)
        )
        self._servers: dict[str, asyncio.Server] = {}
        self._open: dict[str, set[asyncio.StreamWriter]] = {}

    async def start(self, address: str) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open[address].add(writer)
            while await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                self.seen[address] += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

        self._open[address] = set()
        self._servers[address] = await asyncio.start_server(answer, address, self.port)

    def stop(self, address: str) -> None:
        self._servers.pop(address).close()
        for writer in self._open.pop(address):
            writer.close()

    async def call(self) -> int:
        exchange = self.client.exchange("GET", b"/", [], b"", client="ann", retry=True)
        async with exchange as reply:
            await reply.aread()
            return reply.status_code

    async def calls(self, count: int, at_once: int = 8) -> Counter[str]:
        """Which replica was asked how often."""
        self.seen.clear()
        for _ in range(count // at_once):
            await asyncio.gather(*(self.call() for _ in range(at_once)))
        return self.seen

    async def aclose(self) -> None:
        await self.client.transport.aclose()
        for address in [*self._servers]:
            self.stop(address)


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are looked up every 0.1 s instead of every 5."""
    monkeypatch.setattr(transport, "LOOK_S", 0.1)


async def test_calls_spread_evenly_and_a_new_replica_gets_its_share(soon_again: None) -> None:
    assert transport.LOOK_S < 30
    async with aclosing(Platform(Names(*ADDRESSES[:2]))) as platform:
        for address in ADDRESSES:
            await platform.start(address)
        seen = await platform.calls(400)
        assert all(160 <= seen[address] <= 240 for address in ADDRESSES[:2]), seen
        assert not seen[ADDRESSES[2]]
        platform.names.addresses.append(ADDRESSES[2])

        async def asked() -> bool:
            await platform.calls(8)
            return bool(platform.seen[ADDRESSES[2]])

        await soon(asked, what="a call of the new replica")
        seen = await platform.calls(600)
        assert all(160 <= seen[address] <= 240 for address in ADDRESSES), seen


async def test_a_replica_that_is_gone_fails_nothing(soon_again: None) -> None:
    async with aclosing(Platform(Names(*ADDRESSES))) as platform:
        for address in ADDRESSES:
            await platform.start(address)
        assert await platform.call() == 200
        platform.stop(ADDRESSES[0])  # its name is known for a while
        seen = await platform.calls(200)
        assert set(seen) == {*ADDRESSES[1:]}
        platform.names.addresses.remove(ADDRESSES[0])
        await platform.start(ADDRESSES[0])
        known = platform.names.asked + 2

        async def looked_up() -> bool:
            await platform.call()
            return platform.names.asked > known

        await soon(looked_up, what="look-ups")
        assert not (await platform.calls(40))[ADDRESSES[0]]


async def test_a_name_that_nobody_knows_is_a_refused_connection() -> None:
    platform = Platform(Names())
    with pytest.raises(UpstreamUnavailable) as caught:
        await platform.call()
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    for address in ADDRESSES:
        platform.names.addresses.append(address)
    with pytest.raises(UpstreamUnavailable):  # nobody listens on any of them
        await platform.call()


async def test_the_systems_own_look_up_knows_this_machine() -> None:
    assert set(await transport.resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
    assert await transport.resolve("127.0.0.3", 80) == ["127.0.0.3"]
