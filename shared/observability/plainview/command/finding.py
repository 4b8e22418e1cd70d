"""A finding of `plainview check`, and a request that it can recognise again."""

import secrets
from dataclasses import dataclass
from typing import Literal

from plainview.context import REQUEST_ID_HEADER

from .asking import Reply, Service

Level = Literal["ok", "advice", "wrong"]
OK: Level = "ok"
ADVICE: Level = "advice"
WRONG: Level = "wrong"
OBSERVE = "Call observe(app, ObservabilitySettings(service_name=...)) before the first request."


@dataclass(frozen=True)
class Finding:
    """One sentence on one thing; `do` is what to do about it, "" if nothing."""

    what: str
    level: Level
    says: str
    do: str = ""


@dataclass(frozen=True)
class Asked:
    """A request that carries a trace and an ID of its own, and its reply."""

    request_id: str
    trace_id: str
    path: str
    reply: Reply


def ask(service: Service, path: str) -> Asked:
    """A GET with a request ID and a sampled trace of its own; NoReply if nothing comes back."""
    request_id, trace_id = f"check-{secrets.token_hex(6)}", secrets.token_hex(16)
    headers = {
        REQUEST_ID_HEADER: request_id,
        "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01",
    }
    return Asked(request_id, trace_id, path, service.get(path, **headers))


def missing(part: str) -> str:
    """What to do about a page that is not there."""
    return (
        f"{OBSERVE} If it is called: {part} is switched off, or on another port (--ops URL), or a"
        " proxy handed this request on, and then the page is hidden on purpose."
    )
