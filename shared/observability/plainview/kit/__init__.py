"""Dashboards, recording rules and alerts for any service that `observe()` makes observable.

`write()` makes all files of a kit, as the command `plainview kit` does:

    write("kit", service="shop", slos=[...], alerts=[...])

`Kit` describes an installation; the builders make documents for Grafana and Prometheus from it:

    kit = Kit(services=("shop",))
    alerts = generic_alerts(kit)
    boards = [overview(kit, alerts), system(kit), slos(kit), logs_and_traces(kit), telemetry(kit)]

The rest of plainview does not import this package.
"""

from .alerts import generic_alerts
from .board import Dashboard, Row
from .config import Kit, Thresholds
from .logs import logs_and_traces
from .overview import overview
from .slos import slos
from .system import system
from .telemetry import telemetry
from .writing import write

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
    "write",
]
