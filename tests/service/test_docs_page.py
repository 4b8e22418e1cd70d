"""The page of operations needs no other host, and its policy allows none."""

import re
from contextlib import AbstractAsyncContextManager

import httpx
import pytest

from tests.support.auth_app import auth_app
from tests.support.event_app import event_app
from tests.support.gateway_app import gateway


@pytest.mark.usefixtures("no_worker_threads")
@pytest.mark.parametrize("make", [auth_app, event_app, gateway])
async def test_everything_comes_from_here(make: type[AbstractAsyncContextManager[object]]) -> None:
    async with make() as made:
        transport = httpx.ASGITransport(made.app)  # type: ignore[attr-defined]
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            page = await client.get("/docs")
            assert page.status_code == 200
            assert "://" not in page.text
            assert "<script>" not in page.text
            named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            assert len(named) == 4
            for reply in [page, *[await client.get(f"/{name}") for name in named]]:
                assert reply.status_code == 200, reply.url
                policy = reply.headers["content-security-policy"]
                assert "script-src 'self';" in policy
                assert "frame-ancestors 'none'" in policy
                assert "default-src 'none'" in policy
                assert reply.headers["x-content-type-options"] == "nosniff"
            assert 'url: "openapi.json"' in (await client.get("/docs/start.js")).text
            assert (await client.head("/docs")).status_code == 200
            for own in ("/openapi.json", "/metrics", "/health/live"):
                assert (await client.get(own)).status_code == 200
            for odd in ("core.py", "..%2fcore.py", "redoc.standalone.js", "%00"):
                assert (await client.get(f"/docs/{odd}")).status_code == 404
            assert (await client.get("/redoc")).status_code == 404
