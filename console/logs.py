"""Follows the log files of a folder, through rotation, and hands each line on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from console.store import Line

TAIL = 1 << 20  # bytes of each file read at the start
CHUNK = 1 << 18  # bytes of each file read per turn: about 10 ms of parsing on the event loop
LONGEST = 1 << 16  # bytes of a line kept while its end is not there yet


class _File:
    """One followed file: an open handle outlives the rename of a rotation."""

    def __init__(self, path: Path, *, tail: bool) -> None:
        self.path = path
        self.handle: BinaryIO = path.open("rb")
        self.rest = b""
        self._skip = False
        size = os.fstat(self.handle.fileno()).st_size
        if tail and size > TAIL:
            self.handle.seek(size - TAIL)
            self._skip = True  # starts inside a line

    def lines(self) -> list[bytes]:
        """The complete lines that came since the last call, at most one chunk of them."""
        if os.fstat(self.handle.fileno()).st_size < self.handle.tell():
            self.handle.seek(0)  # truncated in place
            self.rest = b""
        data = self.rest + self.handle.read(CHUNK)
        *lines, self.rest = data.split(b"\n")
        if len(self.rest) > LONGEST:
            lines.append(self.rest)
            self.rest = b""
        if self._skip and lines:
            self._skip = False
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

    def __init__(self, folder: Path, add: Callable[[Line], None]) -> None:
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

    async def run(self, interval_s: float = 0.3) -> None:
        """Follow until cancelled."""
        try:
            while True:
                busy = self.poll()
                await asyncio.sleep(0 if busy > 500 else interval_s)
        finally:
            self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.handle.close()
        self._files.clear()
