"""Dashboards, recording rules and alerts for any service that `observe()` makes observable.

`Kit` describes an installation; the builders make documents for Grafana and Prometheus from it:

    kit = Kit(services=("shop",))
    alerts = generic_alerts(kit)
    boards = [overview(kit, alerts), system(kit), slos(kit), logs_and_traces(kit), telemetry(kit)]

The package writes no files, and the rest of plainview does not import it.
"""

from .alerts import generic_alerts
from .board import Dashboard, Row
from .config import Kit, Thresholds
from .logs import logs_and_traces
from .overview import overview
from .slos import slos
from .system import system
from .telemetry import telemetry

__all__ = [
    "Dashboard",
    "Kit",
    "Row",
    "Thresholds",
    "generic_alerts",
    "logs_and_traces",
    "overview",
    "slos",
    "system",
    "telemetry",
]
