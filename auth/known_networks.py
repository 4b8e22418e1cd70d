"""The networks that a user has signed in from; only pseudonyms of them are stored."""

import time
from contextlib import suppress
from ipaddress import ip_address, ip_network

from auth.records import User
from plainview import user_pseudonym

KEPT_S = 30 * 24 * 3600.0
MAX_KEPT = 10
PREFIX = {4: 24, 6: 64}  # bits by IP version: the network that one household or office shares


def known_network(user: User, address: str) -> str:
    """The pseudonym of the address's network if the user signed in from it lately, else ""."""
    network = _pseudonym(user, address)
    return network if user.known.get(network, 0.0) > time.time() - KEPT_S else ""


def remember(user: User, address: str) -> dict[str, float]:
    """The user's networks with this one added: the newest ten of the last 30 days."""
    now = time.time()
    seen = {**user.known, _pseudonym(user, address): now}
    recent = sorted(((at, name) for name, at in seen.items() if at > now - KEPT_S), reverse=True)
    return {name: at for at, name in recent[:MAX_KEPT]}


def _pseudonym(user: User, address: str) -> str:
    network = address  # a peer without an IP address (a Unix socket) has no network
    with suppress(ValueError):
        network = str(ip_network(f"{address}/{PREFIX[ip_address(address).version]}", strict=False))
    return user_pseudonym(f"{user.id} {network}")
