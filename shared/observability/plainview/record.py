"""The record of a request, from which its span, its metrics and its access line are written.

There is one record per request, so these three cannot disagree about method, route, status, IDs
and duration.
"""

from dataclasses import dataclass, field
from time import perf_counter

from opentelemetry import trace

from .context import RequestContext

METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)
OTHER_METHOD = "_OTHER"
UNKNOWN = "__unknown__"  # the route of a request that no route took
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left before the reply


@dataclass(slots=True)
class Record(RequestContext):
    """What is known of a request; complete when the request has ended.

    `method` is of a closed set, `status` is the one sent (499 if the client left before that).
    `duration_s` ends with the last byte of the reply, before background tasks. `error` is an
    exception that the application did not handle. `size` counts bytes of the reply's body, and
    `received`, if sizes are metrics, those of the request's body that the application read.
    """

    method: str = OTHER_METHOD
    status: int = 0
    duration_s: float = 0.0
    size: int = 0
    received: int = 0
    error: BaseException | None = None
    span: trace.Span = trace.INVALID_SPAN
    parent: trace.SpanContext | None = None  # the caller's span
    start: float = field(default_factory=perf_counter)
    ended: bool = False
    websocket: bool = False
    close_code: int | None = None  # of a WebSocket that was accepted
    #: a mounted observed app replied with a page of the library: write no span and no line
    silent: bool = False

    @property
    def path(self) -> str:
        """The route's template, or `__unknown__`."""
        return self.route or UNKNOWN

    @property
    def error_type(self) -> str:
        """`error.type` of the semantic conventions: the status, else the exception's class."""
        return str(self.status) if self.status >= 500 else type(self.error).__qualname__
