"""What this installation tells the kit, and the thresholds of its own alerts."""

from __future__ import annotations

from auth.signals import CATALOGUE as AUTH
from event.signals import CATALOGUE as EVENT
from gateway.signals import CATALOGUE as GATEWAY
from plainview import PLATFORM
from plainview.kit import Kit

KIT = Kit(
    services=("gateway", "auth", "event"),
    prefix="er",
    tag="event-rewards",
    optional_exporter="otlp_http/console",  # a view: it may lose spans
)
CATALOGUES = (PLATFORM, GATEWAY, AUTH, EVENT)  # the library's first

SIGN_IN_FAILURES, SIGN_IN_FAILURE_RATIO = 1, 0.5  # per second, and of all sign-ins
TECHNICAL_RATIO, CLAIM_FLOOR_RPS = 0.1, 0.05  # claims that fail by our fault, of at least so many
PENDING_S, PENDING = 60, 100  # stock work left undone: age of the oldest, how many
