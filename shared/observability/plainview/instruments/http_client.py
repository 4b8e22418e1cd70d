"""Outgoing HTTP."""

from __future__ import annotations

import httpx


def observe(client: httpx.AsyncClient, upstream: str) -> None:
    """Instrument one client."""
