"""Which headers pass, either way."""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# RFC 9110, section 7.6.1, and what older software still sends
HOP_BY_HOP = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip
# Ours to say: identity, addresses, trace context and the request ID are written anew.
REPLACED = frozenset(
    (
        b"host", b"expect", b"baggage", b"traceparent", b"tracestate", b"b3", b"x-request-id",
        b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip",
    )
)  # fmt: skip
IDENTITY = (b"x-user", b"x-role", b"x-internal", b"x-auth", b"x-forwarded", b"x-b3", b"x-original")
# How long a message is follows from what was read, on either side of the gateway.
FRAMING = frozenset((b"content-length",))
# The gateway's server writes these itself.
SERVER = frozenset((b"server", b"date", b"x-request-id"))


def _named(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """What `Connection` declares to be of this hop only."""
    values = b",".join(value for name, value in headers if name.lower() == b"connection")
    return frozenset(item.strip().lower() for item in values.split(b","))


def for_upstream(headers: Headers, client: str) -> Headers:
    """The client's headers without what concerns this hop or pretends to be ours."""
    dropped = HOP_BY_HOP | REPLACED | FRAMING | _named(headers)
    kept = [
        (name, value)
        for name, value in headers
        # an underscore is a hyphen to some servers: no name of ours may be spelled that way
        if name not in dropped and b"_" not in name and not name.startswith(IDENTITY)
    ]
    cookies = [value for name, value in kept if name == b"cookie"]
    if len(cookies) > 1:  # a client of HTTP/2 may send several (RFC 9113, section 8.2.3)
        kept = [pair for pair in kept if pair[0] != b"cookie"]
        kept.append((b"cookie", b"; ".join(cookies)))
    return [*kept, (b"x-forwarded-for", client.encode("latin-1", "replace"))]


def length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """What a reply says of its length; the parser has let only a number pass."""
    return next((int(v) for name, v in headers if name.lower() == b"content-length"), None)


def for_client(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The upstream's headers without what concerns that hop or its insides."""
    raw = [(name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP | SERVER | _named(raw)
    return [
        (name, value)
        for name, value in raw
        if name not in dropped and not name.startswith(IDENTITY)
    ]
