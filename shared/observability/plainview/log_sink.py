"""The output of log lines: a bounded queue, and a thread that writes it in batches.

Logging never waits for the stream: when the queue is full, lines are dropped and counted. Only
security lines wait, for a bounded time, after a part of the queue reserved for them is full too.
"""

import asyncio
import atexit
import contextlib
import os
import select
import stat
import sys
import threading
import time
from collections import Counter
from queue import Empty, SimpleQueue
from typing import IO, Any

from .signals import LOG_LINES, LOG_LINES_DROPPED, LOG_QUEUE_DEPTH, LOG_TYPES

_LINGER_S = 0.02  # wait for more lines, so that a burst costs one switch of threads
_CHUNK = select.PIPE_BUF  # bytes that POSIX writes to a shared pipe in one piece
_BYTES_PER_LINE = 1024  # average, for the bound of the queue in bytes
_LAST_WAIT_S = 0.2
_LOOP_WAIT_S = 0.02  # longest time that a security line may block an event loop


class LogSink:
    """Writes lines to `stream`, or to the current `sys.stdout`.

    `written` and `dropped` count lines (dropped by log type), `depth` those that wait. A closed
    pipe or a full disk drops lines too; writing goes on as soon as the stream accepts it.
    """

    def __init__(
        self, stream: IO[Any] | None = None, size: int = 10_000, security_wait_s: float = 0.5
    ) -> None:
        self.configure(stream, size, security_wait_s)
        #: at shutdown, flush after each line: a server may raise its signal again and end at once
        self.prompt = False
        self.written = 0
        self.dropped = dict.fromkeys(LOG_TYPES, 0)
        self._reported = dict(self.dropped)
        self._torn = False
        self._reset()
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.flush, 2.0)

    def configure(self, stream: IO[Any] | None, size: int, security_wait_s: float) -> None:
        """Change stream and bounds; lines in the queue go to the new stream."""
        self.stream = stream
        self._size, self._reserve = size, max(100, size // 10)
        self._wait_s = self._patience = security_wait_s

    def _reset(self) -> None:  # also after a fork: the parent writes the queued lines
        # both are re-entrant, as a signal handler or __del__ may log while a line is being queued
        self._queue: SimpleQueue[tuple[bytes, str, str]] = SimpleQueue()
        self._lock = threading.RLock()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self.depth = self._bytes = 0

    def put(self, line: bytes, level: str, log_type: str) -> bool:
        """Queue a line; False if it was dropped."""
        size = self._size + (self._reserve if log_type == "security" else 0)
        if not self._enter(len(line), size) and not (
            log_type == "security" and self._wait(len(line), size)
        ):
            with self._lock:
                self.dropped[log_type] += 1
            return False
        self._queue.put((line, level, log_type))
        if self._thread is None:
            self._start()
        if self.prompt:
            self.prompt = self.flush(_LAST_WAIT_S)  # not again if the stream is stuck
        return True

    def _enter(self, length: int, size: int) -> bool:
        with self._lock:
            if self.depth >= size or self._bytes + length > size * _BYTES_PER_LINE:
                return False
            self.depth += 1
            self._bytes += length
            return True

    def _wait(self, length: int, size: int) -> bool:
        """Wait for room; the waits of one overload add up to at most `security_wait_s`."""
        start = time.monotonic()
        patience = self._patience
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            patience = min(patience, _LOOP_WAIT_S)
        entered = False
        while not entered and time.monotonic() - start < patience:
            time.sleep(0.002)
            entered = self._enter(length, size)
        self._patience = max(0.0, self._patience - (time.monotonic() - start))
        return entered

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="plainview-log")
                self._thread.start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all lines are written; False if some are not after `timeout_s` seconds."""
        end = time.monotonic() + timeout_s
        self._hurry.set()
        while self.depth and time.monotonic() < end:
            time.sleep(0.001)
        self._hurry.clear()
        return not self.depth

    def _run(self) -> None:
        queue, hurry = self._queue, self._hurry
        while True:
            batch = [queue.get()]
            hurry.wait(_LINGER_S)
            with contextlib.suppress(Empty):
                while len(batch) < 1000:
                    batch.append(queue.get_nowait())
            start, limit = 0, self._chunk_size()
            while start < len(batch):
                end, size = start + 1, len(batch[start][0])
                while end < len(batch) and size + len(batch[end][0]) <= limit:
                    size += len(batch[end][0])
                    end += 1
                self._chunk(batch[start:end], size)
                start = end
            self._report()

    def _chunk_size(self) -> int:
        """Bytes per write: for a pipe what is written in one piece, for a file more."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            mode = os.fstat((self.stream or sys.stdout).fileno()).st_mode
            if stat.S_ISREG(mode) or stat.S_ISCHR(mode):
                return 16 * _CHUNK
        return _CHUNK

    def _chunk(self, lines: list[tuple[bytes, str, str]], size: int) -> None:
        try:
            self._write(b"".join([line for line, _, _ in lines]))
        except Exception:  # whatever fails, the next lines are tried
            with self._lock:
                for _, _, log_type in lines:
                    self.dropped[log_type] += 1
        else:
            self.written += len(lines)
            for (level, log_type), count in Counter(line[1:] for line in lines).items():
                LOG_LINES.inc(count, level=level, log_type=log_type)
        with self._lock:
            self.depth -= len(lines)
            self._bytes -= size
            if self.depth < self._size:
                self._patience = self._wait_s

    def _write(self, data: bytes) -> None:
        stream = self.stream or sys.stdout
        try:
            fd = stream.fileno()
        except (OSError, ValueError, AttributeError):
            stream.write(data.decode())
            stream.flush()
            return
        if self._torn:  # a failed write ended in the middle of a line
            data = b"\n" + data
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        rest, limit = memoryview(data), self._chunk_size()
        try:
            while rest:
                while not poll.poll(500):
                    self._report()
                # Not by the stream's write(): a stuck thread would hold its lock, and the exit of
                # the process, which flushes the stream, would hang.
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(fd, rest[:limit]) :]
        finally:
            self._torn = (self._torn and len(rest) == len(data)) or 0 < len(rest) < len(data)

    def _report(self) -> None:
        LOG_QUEUE_DEPTH.set(self.depth)
        for log_type, count in tuple(self.dropped.items()):
            LOG_LINES_DROPPED.inc(count - self._reported[log_type], log_type=log_type)
            self._reported[log_type] = count
