"""Telemetry fails quietly in production and loudly in tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

on_error: list[Callable[[str, Exception], None]] = []  # metrics.py counts, logs.py says it once


@contextmanager
def guarded(part: str) -> Iterator[None]:
    """Keep an error of telemetry code from the program; counted under `part`.

    With PLAINVIEW_STRICT=1 it is raised, so that tests see it.
    """
    try:
        yield
    except Exception as error:
        if os.environ.get("PLAINVIEW_STRICT") == "1":
            raise
        for callback in on_error:
            with suppress(Exception):
                callback(part, error)
