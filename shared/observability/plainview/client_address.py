"""The address of the client of an ASGI request, also behind trusted proxies.

Only `X-Forwarded-For` is read. Most proxies write it but pass on the client's own `Forwarded`
header (RFC 7239) unchanged, so reading that one too would let clients forge their address.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Networks = tuple[IPv4Network | IPv6Network, ...]

UNKNOWN = "unknown"
IPV6_PREFIX = 64
"""Leading bits of an IPv6 address that identify a client: networks give a /64 to each."""
_FORWARDED = (b"x-forwarded-for", b"forwarded")


def parse_networks(text: str | Iterable[str]) -> Networks:
    """Networks of a text such as `"10.0.0.0/8, ::1"`; ValueError names an invalid item."""
    items = text.split(",") if isinstance(text, str) else text
    return tuple(ip_network(item.strip(), strict=False) for item in items if item.strip())


@lru_cache(maxsize=4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """The address, None if it is invalid; an IPv4-mapped IPv6 address becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # a zone (fe80::1%eth0) has a meaning only on the machine that wrote it, so it is dropped
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


@lru_cache(maxsize=4096)
def parse_node(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a node as RFC 7239, section 6, and proxies write it; None if it has none.

    `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`, each also
    in double quotes. `unknown` and hidden names such as `_gate` have none.
    """
    node = text.strip()
    if len(node) > 1 and node[0] == node[-1] == '"':
        node = node[1:-1]
    if node.startswith("["):
        inside, closed, port = node[1:].partition("]")
        address = _parse(inside) if closed and (not port or port[0] == ":") else None
        return address if ":" in inside else None
    if node.count(":") == 1:
        node = node.partition(":")[0]
    return _parse(node)


def is_within(address: str, networks: Networks) -> bool:
    """Whether the address is in one of these networks; False for an invalid address."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def client_address(scope: Mapping[str, Any], trusted: Networks) -> str:
    """The address of the client of an ASGI scope, "unknown" without a peer.

    `X-Forwarded-For` is believed only as far as trusted proxies wrote it. It is read from the
    right: the first address that is not a trusted proxy is the client's. An invalid one ends it.
    """
    peer = scope.get("client")
    address = str(peer[0]) if peer else UNKNOWN
    if not trusted or not is_within(address, trusted):
        return address
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if not values:
        return address
    for hop in reversed(b",".join(values).decode("latin-1").split(",")):
        parsed = parse_node(hop)
        if parsed is None:
            break
        address = str(parsed)
        if not is_within(address, trusted):
            break
    return address


@lru_cache(maxsize=4096)
def client_network(address: str, ipv6_prefix: int = IPV6_PREFIX) -> str:
    """The key to count a client by: its IPv4 address, or the network of its IPv6 address.

    Text that is not an address is returned unchanged.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), ipv6_prefix), strict=False))
    return address if parsed is None else str(parsed)


def handed_on(scope: Mapping[str, Any], trusted: Networks) -> bool:
    """Whether anyone but a trusted proxy forwarded the request, so that its client is not known."""
    peer = scope.get("client")
    return not (peer and is_within(str(peer[0]), trusted)) and any(
        name in _FORWARDED for name, _ in scope["headers"]
    )


def may_read(scope: Mapping[str, Any], allow: Networks | None, trusted: Networks = ()) -> bool:
    """Whether the client may read pages that are for the networks `allow` (None: for everyone)."""
    if allow is None:
        return True
    return not handed_on(scope, trusted) and is_within(client_address(scope, trusted), allow)
