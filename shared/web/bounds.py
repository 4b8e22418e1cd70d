"""The bounds of a server."""

from dataclasses import dataclass

DIGITS = 19  # of a Content-Length; int() raises ValueError from 4,301 on, leading zeros included


@dataclass(frozen=True)
class Bounds:
    """What one server grants its clients; times in seconds, sizes in bytes."""

    #: request line and headers together
    head: int = 16 * 1024
    #: header fields of one head; some libraries take time by the square of this number
    fields: int = 100
    #: pipelined requests of one connection that wait for earlier replies; each takes about 3 KB of
    #: memory, a hundred times what the client sends for it
    ahead: int = 32
    #: from the first byte of a request to its last
    message_s: float = 10.0
    #: an idle connection; longer than the 60 s after which load balancers close theirs
    keep_alive_s: float = 75.0
    #: after which time it is unlikely that a request is just on its way on an idle connection
    settled_s: float = 1.0
    #: how long bytes are still read and dropped after the last reply of a connection: closing
    #: it with unread bytes sends a reset, and the client may lose that reply
    linger_s: float = 0.5
    #: a client that reads less than `taken` bytes in `taking_s` while more wait is cut off
    taken: int = 30 * 1024
    taking_s: float = 30.0
    #: open connections in all, and of one client (0: as many as in all; twice as many if all of
    #: them are at work)
    connections: int = 1024
    connections_per_client: int = 0
    #: leading bits of an IPv6 address that identify a client
    ipv6_prefix: int = 64
