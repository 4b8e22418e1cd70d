"""From where a user has signed in: networks, of which only a pseudonym is kept."""

import time
from contextlib import suppress
from ipaddress import ip_address, ip_network

from auth.repository import User
from plainview import user_pseudonym

KEPT_S = 30 * 24 * 3600.0
MAX_KEPT = 10
PREFIX = {4: 24, 6: 64}  # bits: what one household or office has


def known_place(user: User, address: str) -> str:
    """The pseudonym of the address's network if the user signed in from it lately, else ""."""
    place = _place(user, address)
    return place if user.known.get(place, 0.0) > time.time() - KEPT_S else ""


def remember(user: User, address: str) -> dict[str, float]:
    """The user's places with this one, which is the newest: those of 30 days, at most ten."""
    now = time.time()
    seen = {**user.known, _place(user, address): now}
    recent = sorted(((at, place) for place, at in seen.items() if at > now - KEPT_S), reverse=True)
    return {place: at for at, place in recent[:MAX_KEPT]}


def _place(user: User, address: str) -> str:
    network = address  # of what is no IP address, as without a peer, there is no network
    with suppress(ValueError):
        network = str(ip_network(f"{address}/{PREFIX[ip_address(address).version]}", strict=False))
    return user_pseudonym(f"{user.id} {network}")
