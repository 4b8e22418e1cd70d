"""The addresses of an upstream's replicas, of which each is asked in turn."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

LOOK_S = 5.0  # after so long the name is looked up again, so a new replica soon gets its share

# looks up a host and a port; the addresses that it has now
Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses as the system knows them, each once; OSError if it knows none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Replicas:
    """Knows the addresses of one host. An old look-up serves until the next one has ended."""

    def __init__(self, host: str, port: int, resolve: Resolve = resolve) -> None:
        self._host, self._port, self._resolve = host, port, resolve
        self._known: list[str] = []
        self._look_at = 0.0
        self._turn = 0
        self._looking: asyncio.Task[None] | None = None

    def in_turn(self) -> list[str]:
        """The known addresses, first the one whose turn it is; none before the first `look`."""
        if not self._known:
            return []
        if self._looking is None and asyncio.get_running_loop().time() > self._look_at:
            self._looking = asyncio.create_task(self._look_again())
        self._turn = (self._turn + 1) % len(self._known)
        return self._known[self._turn :] + self._known[: self._turn]

    async def look(self) -> list[str]:
        """The host's addresses now; OSError if it has none."""
        known = await self._resolve(self._host, self._port)
        if not known:
            raise OSError(f"{self._host} has no address")
        self._known, self._look_at = known, asyncio.get_running_loop().time() + LOOK_S
        return known

    async def _look_again(self) -> None:
        try:
            with suppress(OSError):  # what was known before may still be right
                await self.look()
        finally:
            self._look_at = asyncio.get_running_loop().time() + LOOK_S
            self._looking = None

    def refused(self, address: str) -> None:
        """Ask the others until the next look-up, if there are any."""
        if address in self._known and len(self._known) > 1:
            self._known.remove(address)
