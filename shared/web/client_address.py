"""Whose request this is: the address of the client, past the proxies that are trusted."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Networks = tuple[IPv4Network | IPv6Network, ...]


def parse_networks(text: str | Iterable[str]) -> Networks:
    """`"10.0.0.0/8, ::1"` as networks; ValueError names what is none."""
    items = text.split(",") if isinstance(text, str) else text
    return tuple(ip_network(item.strip(), strict=False) for item in items if item.strip())


@lru_cache(maxsize=4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_within(address: str, networks: Networks) -> bool:
    """Whether the address is one of these networks; anything that is no address is not."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def client_address(scope: Any, trusted: Networks) -> str:
    """The address of the client of an ASGI scope, "unknown" without a peer.

    `X-Forwarded-For` is believed only as far as trusted proxies wrote it: read from the right,
    the first address that is no trusted proxy is the client's; what is no address ends the walk.
    """
    peer = scope.get("client")
    address = str(peer[0]) if peer else "unknown"
    if not trusted or not is_within(address, trusted):
        return address
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for hop in reversed(b",".join(values).decode("latin-1").split(",")):
        parsed = _parse(hop.strip())
        if parsed is None:
            break
        address = str(parsed)
        if not is_within(address, trusted):
            break
    return address
