"""An application for servers to serve: `app`, or this module run as a program.

It is that of all situations, with a lifespan that writes lines and with metrics of its own.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from plainview import Bounded, Catalogue, ObservabilitySettings, get_logger, observe
from tests.support.many_routes import make_app

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


app = make_app(lifespan=lifespan)
SETTINGS = ObservabilitySettings(service_name="observed", log_format="json")
observe(app, SETTINGS, catalogue=CATALOGUE)


@app.get("/work")
async def work() -> int:
    WORK.inc(kind="small")
    WORK_SIZE.observe(5)
    WORKERS.set(1)
    NEWEST.replace({(str(os.getpid()),): 1})
    return os.getpid()


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, port=int(sys.argv[1]))
