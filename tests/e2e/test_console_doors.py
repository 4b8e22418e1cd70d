"""The console's two ports as a process: clients that send half a request shut nobody out."""

import asyncio
from pathlib import Path

import httpx

from tests.support.servers import free_port, listens
from tests.support.trio import Service
from tests.support.waiting import soon

CROWD = 210


async def test_half_open_connections_shut_neither_port(tmp_path: Path) -> None:
    own = {"OTLP_PORT": str(free_port()), "LOG_DIR": str(tmp_path), "MESSAGE_SECONDS": "3"}
    console = Service("console", tmp_path / "output", **own)
    ports = console.port, int(own["OTLP_PORT"])
    try:
        console.start()
        for port in ports:
            await soon(lambda port=port: listens(port), 60, "the console")
        crowd = [
            await asyncio.open_connection("127.0.0.1", port) for port in ports for _ in range(CROWD)
        ]
        for _, writer in crowd:
            writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-Half: ")
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            page = await client.get(f"http://127.0.0.1:{ports[0]}/health/live")
            assert page.status_code == 200
            spans = await client.post(
                f"http://127.0.0.1:{ports[1]}/v1/traces",
                content=b"",
                headers={"Content-Type": "application/x-protobuf"},
            )
            assert spans.status_code == 200
        async with asyncio.timeout(30):
            for reader, writer in crowd:  # and each of them ends at its deadline
                assert b" 408 " in await reader.read()
                writer.close()
    finally:
        console.kill()
