"""A reply of 100 MB passes, and little of it is held at a time."""

import os
from pathlib import Path
from typing import Any

import pytest

from shared.tokens import Role
from tests.support.gateway_app import gateway, upstream

MIB = 1024 * 1024
SIZE, GROWTH = 100 * MIB, 16 * MIB


def resident() -> int:
    """Bytes of memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_reply_is_passed_on_in_parts(issuer, announced):
    """Upstream, gateway and client are all in this process, so the bound is for the three."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(SIZE).encode())] if announced else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(SIZE // MIB):
            await send({"type": "http.response.body", "body": b"x" * MIB, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with upstream(app=app) as up, gateway(event_url=up.url, auth_url=issuer.url) as gw:
        headers = issuer.headers("ann", Role.USER)
        got, most, before = 0, 0, resident()
        async with gw.client.stream("GET", "/api/v1/events", headers=headers) as reply:
            async for chunk in reply.aiter_raw():
                got += len(chunk)
                most = max(most, resident())
    assert got == SIZE
    assert most - before <= GROWTH, f"{(most - before) / MIB:.1f} MiB more"
