"""Guards against errors of telemetry: they never reach the host program, but tests see them."""

import contextlib
import os
from collections.abc import Callable
from types import TracebackType

# Called with the part's name. `signals` adds its counter here, which avoids an import cycle.
on_error: list[Callable[[str], None]] = []


class guarded:
    """Swallow any Exception inside and count it for `part`; raise it if `PLAINVIEW_STRICT=1`.

    Cancellation and exits pass through. One object may be entered many times.
    """

    __slots__ = ("part",)

    def __init__(self, part: str) -> None:
        self.part = part

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        for callback in tuple(on_error):
            with contextlib.suppress(Exception):  # reporting itself failed
                callback(self.part)
        return os.environ.get("PLAINVIEW_STRICT") != "1"
