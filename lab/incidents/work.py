"""What a process does while something is broken: traffic, and faults that must be kept up."""

import asyncio
import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from lab.incidents.places import Details, Place

BOUND_S = 1800.0  # seconds; the work of a fault that nobody repairs ends after this
RPS = 4.0
SIGN_IN_S = 3.0  # seconds between sign-ins, which are limited
Work = Callable[[Any, Details, threading.Event], None]


def browse(place: Place, details: Details, stop: threading.Event) -> None:
    """A user who looks around, RPS requests a second, and signs in again when refused."""
    paths = itertools.cycle(("/events", "/auth/me", "/reward-requests"))
    address = {
        "X-Forwarded-For": "198.18.255.1"
    }  # behind a trusted proxy it has a rate limit of its own
    with httpx.Client(base_url=f"{place.gateway}/api/v1", headers=address, timeout=10) as http:
        while not stop.wait(1 / RPS):
            with suppress(httpx.HTTPError, ValueError):
                if "Authorization" in http.headers:
                    if http.get(next(paths)).status_code == 401:
                        del http.headers["Authorization"]
                elif (login := http.post("/auth/login", json=place.accounts["USER"])).is_success:
                    http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
                else:
                    stop.wait(SIGN_IN_S)


def guess(place: Place, details: Details, stop: threading.Event) -> None:
    """Passwords tried from many addresses on a few accounts, about twelve a second."""
    with httpx.Client(base_url=f"{place.gateway}/api/v1", timeout=10) as http:
        for number in itertools.count():
            if stop.wait(0.08):
                return
            email = f"victim-{number % 40}@example.com"
            body = {"email": email, "password": f"guess number {number}"}
            address = {"X-Forwarded-For": f"198.18.{number % 250}.{number // 250 % 250}"}
            with suppress(httpx.HTTPError):
                http.post("/auth/login", json=body, headers=address)


def stutter(program: str, pause_s: float, run_s: float) -> Work:
    """The program hangs for a moment again and again."""

    def work(place: Any, details: Details, stop: threading.Event) -> None:
        while not stop.wait(run_s):
            place.do("pause", program)
            try:
                stop.wait(pause_s)
            finally:
                place.do("resume", program)

    return work


def crash(program: str, times: int, every_s: float) -> Work:
    """The program is killed again and again; between two kills it is up and scraped."""

    def work(place: Any, details: Details, stop: threading.Event) -> None:
        for _ in range(times):
            with suppress(ProcessLookupError):
                if pid := place.pid(program):
                    place.do("kill", program)
                    print(f"killed {program}, process {pid}", flush=True)
            if stop.wait(every_s):
                return

    return work


def flood(service: str, requests: int) -> Work:
    """So many refused requests, each a log line; four at a time, as fast as they are answered."""

    def work(place: Any, details: Details, stop: threading.Event) -> None:
        left = iter(range(requests))

        def client() -> None:
            with httpx.Client(base_url=place.urls[service], timeout=10) as http:
                for _ in left:
                    if stop.is_set():
                        return
                    with suppress(httpx.HTTPError):
                        http.get("/api/v1/nothing-here")

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return work


def slow_wire(to: str, delay_s: float) -> Work:
    """A TCP proxy at `details["url"]` in front of a service that holds back what is sent to it."""

    def work(place: Any, details: Details, stop: threading.Event) -> None:
        host, port = place.targets[to][0].split(":")

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, late: float
        ) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    await asyncio.sleep(late)
                    sink.write(data)
                    await sink.drain()
            sink.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                there = await asyncio.open_connection(host, int(port))
                await asyncio.gather(pump(reader, there[1], delay_s), pump(there[0], writer, 0))

        async def run() -> None:
            await asyncio.start_server(serve, "127.0.0.1", urlsplit(details["url"]).port)
            await asyncio.to_thread(stop.wait)

        asyncio.run(run())

    return work


def perform(works: tuple[Work, ...], place: Place, details: Details, stop: threading.Event) -> None:
    """Run all of them in parallel until `stop` is set or BOUND_S is over."""
    threads = [threading.Thread(target=work, args=(place, details, stop)) for work in works]
    for thread in threads:
        thread.start()
    stop.wait(BOUND_S)
    stop.set()
    for thread in threads:
        thread.join(5)
