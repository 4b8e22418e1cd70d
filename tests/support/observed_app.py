"""An application for servers to serve: `app`, or this module run as a program.

Its lifespan, its routes, its background tasks and its mounted app write lines of their own.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

from plainview import Bounded, Catalogue, ObservabilitySettings, get_logger, observe

log = get_logger()
CATALOGUE = Catalogue("observed")
WORK = CATALOGUE.counter("work_done_total", "Work", labels={"kind": ("small", "large")})
WORK_SIZE = CATALOGUE.histogram("work_size", "Size", buckets=(1.0, 10.0), unit="")
WORKERS = CATALOGUE.gauge("workers", "Workers that have worked")
NEWEST = CATALOGUE.gauge(
    "newest",
    "1, of the worker that worked last",
    labels={"pid": Bounded(9)},
    multiprocess_mode="latest",
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    log.info("app.started")
    yield
    log.info("app.stopped")
    logging.getLogger("after").info("stdlib at the end")


async def raw(request: Request) -> PlainTextResponse:
    return PlainTextResponse("raw")


app, sub = FastAPI(lifespan=lifespan), FastAPI()
SETTINGS = ObservabilitySettings(service_name="observed", log_format="json")
observe(app, SETTINGS, catalogue=CATALOGUE)


@app.get("/items/{item}")
async def item(item: str) -> str:
    log.info("item.seen")
    return item


@sub.get("/items/{item}")
def sub_item(item: str) -> str:
    log.info("sub.item.seen")
    return item


@app.get("/broken")
async def broken() -> None:
    raise RuntimeError("password=hunter2")


@app.get("/background")
async def background(tasks: BackgroundTasks) -> int:
    def fail() -> None:
        raise LookupError("password=hunter2")

    tasks.add_task(fail)
    return 1


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    return StreamingResponse(parts())


@app.get("/work")
async def work() -> int:
    WORK.inc(kind="small")
    WORK_SIZE.observe(5)
    WORKERS.set(1)
    NEWEST.replace({(str(os.getpid()),): 1})
    return os.getpid()


app.add_route("/raw/{item}", raw)
app.mount("/sub", sub)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, port=int(sys.argv[1]))
