"""The whole service in this process, started while its database and its stream are away."""

import asyncio
import time

import httpx

from event.main import create_app
from event.settings import Settings
from shared.storage.mongo import connect
from shared.tokens import Role
from tests.support.event_data import offered
from tests.support.issuer import Issuer
from tests.support.servers import EmbeddedMongo, free_port
from tests.support.timing import in_time
from tests.support.waiting import soon


async def test_it_starts_without_servers_and_serves_when_the_database_comes() -> None:
    mongo = EmbeddedMongo()
    with Issuer() as issuer:
        settings = Settings(
            user_hash_key="k" * 32,
            mongo_url=mongo.url,
            redis_url=f"redis://127.0.0.1:{free_port()}/0",
            auth_url=issuer.url,
        )
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://event") as client,
        ):
            client.headers.update(issuer.headers("u", Role.USER))

            async def refused() -> float:
                start = time.monotonic()
                reply = await client.get("/api/v1/events")
                assert reply.status_code == 503
                assert int(reply.headers["retry-after"]) >= 1
                return time.monotonic() - start

            await in_time(refused, 2.5)
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 503

            async def ready() -> bool:
                return (await client.get("/health/ready")).status_code == 200

            try:
                await asyncio.to_thread(mongo.start)
                await soon(ready)
                connection = connect(mongo.url, "pymongo", "test")
                database = connection.database(settings.mongo_database)
                reward = await offered(database, "u")
                await connection.close()
                reply = await client.post(
                    f"/api/v1/rewards/{reward}/requests", headers={"Idempotency-Key": "key"}
                )
                assert reply.status_code == 201, reply.text
            finally:
                await asyncio.to_thread(mongo.stop)
