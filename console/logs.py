"""Log lines from where they are: files of a folder, through rotation, or Loki."""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import httpx

from console.store import Line

TAIL = 1 << 20  # bytes of each file read at the start
CHUNK = 1 << 18  # bytes of each file read per turn: about 10 ms of parsing on the event loop
LONGEST = 1 << 16  # bytes of a line kept while its end is not there yet
LATE_S = 60.0  # lines come to Loki 10 to 15 s after they were written, not in order
LIMIT = 2_000  # lines of one question to Loki
Add = Callable[[Line], None]


class _File:
    """One followed file: an open handle outlives the rename of a rotation."""

    def __init__(self, path: Path, *, tail: bool) -> None:
        self.path, self.rest = path, b""
        self.handle: BinaryIO = path.open("rb")
        size = os.fstat(self.handle.fileno()).st_size
        self._inside = tail and size > TAIL  # reading starts within a line, whose rest is skipped
        if self._inside:
            self.handle.seek(size - TAIL)

    def lines(self) -> list[bytes]:
        """The complete lines that came since the last call, at most one chunk of them."""
        if os.fstat(self.handle.fileno()).st_size < self.handle.tell():
            self.handle.seek(0)  # truncated in place
            self.rest = b""
        *lines, self.rest = (self.rest + self.handle.read(CHUNK)).split(b"\n")
        if len(self.rest) > LONGEST:
            lines.append(self.rest)
            self.rest = b""
        if self._inside and lines:
            self._inside = False
            del lines[0]
        return lines

    def replaced(self) -> bool:
        """Whether all of it is read and its path now names another file or none."""
        stat = os.fstat(self.handle.fileno())
        if self.handle.tell() < stat.st_size:
            return False
        try:
            return not os.path.samestat(stat, self.path.stat())
        except FileNotFoundError:
            return True


class LogFollower:
    """Reads new lines of `<folder>/<service>.log`, also of files that appear or are rotated."""

    def __init__(self, folder: Path, add: Add) -> None:
        self._folder, self._add = folder, add
        self._files: dict[Path, _File] = {}
        self._started = False

    def poll(self) -> int:
        """Hand on what came since the last call; the number of lines."""
        now, count = time.time(), 0
        for path in sorted(self._folder.glob("*.log")):
            if path not in self._files:
                try:
                    self._files[path] = _File(path, tail=not self._started)
                except OSError:
                    continue  # gone between the listing and the opening, or not ours to read
        self._started = True
        for path, file in list(self._files.items()):
            for raw in file.lines():
                if text := raw.decode("utf-8", "replace").strip():
                    self._add(Line.parse(text, path.stem, now))
                    count += 1
            if file.replaced():
                file.handle.close()
                del self._files[path]
        return count

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            busy = self.poll()
            await asyncio.sleep(0 if busy > 500 else 0.3)


class LokiFollower:
    """Asks Loki every two seconds for the last minute and hands on what is new in it."""

    def __init__(self, http: httpx.AsyncClient, url: str, add: Add) -> None:
        self._http, self._url, self._add = http, url.rstrip("/"), add
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def poll(self) -> None:
        """One question; httpx.HTTPError, ValueError or LookupError if it is not answered well."""
        start = str(int((time.time() - LATE_S) * 1e9))
        params = {"query": '{service=~".+"}', "start": start, "limit": str(LIMIT)}
        reply = await self._http.get(f"{self._url}/loki/api/v1/query_range", params=params)
        found = [
            (nanoseconds, text, stream["stream"].get("service", ""))
            for stream in reply.raise_for_status().json()["data"]["result"]
            for nanoseconds, text, *_ in stream["values"]
        ]
        for nanoseconds, text, service in sorted(found):
            if (key := (nanoseconds, hash(text))) not in self._seen:
                self._seen[key] = None
                self._add(Line.parse(text, service, int(nanoseconds) / 1e9))
        while len(self._seen) > 10 * LIMIT:
            self._seen.popitem(last=False)

    async def run(self) -> None:
        """Follow until cancelled; an answer that does not come is asked for again."""
        while True:
            with suppress(httpx.HTTPError, ValueError, LookupError, TypeError):
                await self.poll()
            await asyncio.sleep(2)
