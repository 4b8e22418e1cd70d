"""Which headers the gateway passes on to an upstream and back to a client."""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# Headers of one connection only: RFC 9110, section 7.6.1, and some of older software.
HOP_BY_HOP = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip
# The gateway writes these itself, so a client cannot forge its address, trace or request ID.
REPLACED = frozenset(
    (
        b"host", b"expect", b"baggage", b"traceparent", b"tracestate", b"b3", b"x-request-id",
        b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip",
    )
)  # fmt: skip
IDENTITY = (b"x-user", b"x-role", b"x-internal", b"x-auth", b"x-forwarded", b"x-b3", b"x-original")
# Not passed to an upstream: the transport sets the length by the bytes that it really sends.
FRAMING = frozenset((b"content-length",))
# The gateway's server writes these itself.
SERVER = frozenset((b"server", b"date", b"x-request-id"))


def _named(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The headers that `Connection` declares to be of this connection only."""
    values = b",".join(value for name, value in headers if name.lower() == b"connection")
    return frozenset(item.strip().lower() for item in values.split(b","))


def for_upstream(headers: Headers, client: str) -> Headers:
    """The client's headers without those of its connection and those that the gateway writes."""
    dropped = HOP_BY_HOP | REPLACED | FRAMING | _named(headers)
    kept = [
        (name, value)
        for name, value in headers
        # Some servers read an underscore as a hyphen, so `x_request_id` would pass for ours.
        if name not in dropped and b"_" not in name and not name.startswith(IDENTITY)
    ]
    cookies = [value for name, value in kept if name == b"cookie"]
    if len(cookies) > 1:  # a client of HTTP/2 may send several (RFC 9113, section 8.2.3)
        kept = [pair for pair in kept if pair[0] != b"cookie"]
        kept.append((b"cookie", b"; ".join(cookies)))
    return [*kept, (b"x-forwarded-for", client.encode("latin-1", "replace"))]


def length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """The reply's `Content-Length`, None without one; the parser accepts only a number."""
    return next((int(v) for name, v in headers if name.lower() == b"content-length"), None)


def for_client(headers: Iterable[tuple[bytes, bytes]], status: int) -> Headers:
    """The upstream's headers without those of its connection and internal ones."""
    raw = [(name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP | SERVER | _named(raw)
    if status == 204:
        dropped |= FRAMING  # it has no length (RFC 9110, section 8.6)
    return [
        (name, value)
        for name, value in raw
        if name not in dropped and not name.startswith(IDENTITY)
    ]
