"""Garbage on request, so that what a process still has afterwards is what it keeps."""

import ctypes
import gc
import signal
from contextlib import suppress


def collect_on_signal() -> None:
    """Let SIGUSR2 collect garbage and give free memory back to the system; for `make soak`."""

    def collect(_number: int, _frame: object) -> None:
        gc.collect()
        with suppress(OSError, AttributeError):  # glibc's own, so on Linux only
            ctypes.CDLL(None).malloc_trim(0)

    signal.signal(signal.SIGUSR2, collect)
