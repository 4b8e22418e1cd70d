"""A shop as another company has it: no line of the platform, plainview from its wheel."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException
from pymongo import AsyncMongoClient
from redis.asyncio import Redis
from sqlalchemy import create_engine, text

from plainview import (
    Alert,
    Catalogue,
    ObservabilitySettings,
    Slo,
    checks,
    get_logger,
    observe,
    observe_httpx,
    observe_mongo,
    observe_redis,
    observe_sqlalchemy,
)

CATALOGUE = Catalogue("shop")
ORDERS = CATALOGUE.counter("orders_total", "Orders", labels={"outcome": ("paid", "refused")})
CATALOGUE.slo(Slo("paid", 0.9, 'orders_total{outcome="paid"}', "orders_total", "paid at once"))
CATALOGUE.alert(
    Alert(
        "OrdersRefused",
        'sum by (service) (rate(orders_total{outcome="refused"}[1m])) > 0',
        "{{ $labels.service }} refuses {value:humanize} orders a second",
        for_="0s",
        dashboards=("overview",),
    )
)
PRICES = create_engine("sqlite:///prices.db")
log, security = get_logger(), get_logger("security")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    own, bank = os.environ["SHOP_URL"], os.environ["BANK_URL"]
    app.state.mongo = AsyncMongoClient(os.environ["MONGO_URL"])
    app.state.redis = Redis.from_url(os.environ["REDIS_URL"])
    async with httpx.AsyncClient(base_url=own) as stock, httpx.AsyncClient(base_url=bank) as other:
        app.state.stock = observe_httpx(stock, "stock")
        app.state.bank = observe_httpx(other, "bank")
        yield
    await app.state.redis.aclose()
    await app.state.mongo.close()
    PRICES.dispose()


app = FastAPI(lifespan=lifespan)
observe_mongo()
observe_redis()
observe_sqlalchemy(PRICES)


@app.get("/items/{name}")
async def item(name: str) -> dict[str, str]:
    await app.state.redis.incr(f"seen-{name}")
    return {"name": name}


@app.get("/prices/{name}")
def price(name: str) -> int:
    with PRICES.connect() as connection:
        return int(connection.scalars(text("SELECT length(:name)"), {"name": name}).one())


@app.post("/orders/{name}", status_code=201)
async def order(name: str) -> dict[str, str]:
    (await app.state.stock.get(f"/items/{name}")).raise_for_status()
    if name == "dear":
        await asyncio.sleep(0.3)  # a slow request
        try:
            await app.state.bank.post("/pay")
        except httpx.HTTPError:
            ORDERS.inc(outcome="refused")
            log.warning("order.refused", item=name)
            security.warning("payment.unconfirmed", item=name)
            raise HTTPException(503, "the bank is away") from None
    await app.state.mongo.shop.orders.insert_one({"item": name})
    ORDERS.inc(outcome="paid")
    return {"item": name}


observe(
    app,
    ObservabilitySettings(service_name="shop"),
    catalogue=CATALOGUE,
    checks=lambda: {
        "mongo": checks.mongo(app.state.mongo),
        "redis": checks.redis(app.state.redis, required=False),
        "prices": checks.sqlalchemy(PRICES),
    },
)
