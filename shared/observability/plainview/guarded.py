"""Guards against errors of telemetry: they never reach the host program, but tests see them."""

import contextlib
import os
from types import TracebackType


class guarded:
    """Swallow any Exception inside and count it for `part`; raise it if `PLAINVIEW_STRICT=1`.

    Cancellation and exits pass through. One object may be entered many times.
    """

    __slots__ = ("part",)

    def __init__(self, part: str) -> None:
        self.part = part

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        with contextlib.suppress(Exception):  # counting failed itself
            from .signals import PARTS, TELEMETRY_ERRORS  # noqa: PLC0415 - it uses this module

            TELEMETRY_ERRORS.inc(part=self.part if self.part in PARTS else "other")
        return os.environ.get("PLAINVIEW_STRICT") != "1"
