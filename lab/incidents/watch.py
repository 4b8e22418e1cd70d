"""What Prometheus says: every alert's own expression, asked as it stands in monitoring.alerts."""

import time
from contextlib import suppress
from typing import Any

import httpx

from lab.incidents.places import LabError
from lab.processes import until
from monitoring.alerts import ALERTS
from monitoring.settings import KIT

Found = dict[str, set[str]]  # by name of alert, the series that its expression gives, as text
SETTLE_S = 240.0  # two scrapes of everything, then an evaluation of the recording rules
TRIES = 3  # a busy machine may miss one time-out


class Watch:
    """Asks a Prometheus."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def query(self, expr: str) -> list[dict[str, str]]:
        """Labels of every series that an instant query gives."""
        for left in reversed(range(TRIES)):
            try:
                reply = self._http.get("/api/v1/query", params={"query": expr}).raise_for_status()
                rows: list[dict[str, Any]] = reply.json()["data"]["result"]
                return [row["metric"] for row in rows]
            except httpx.HTTPError as exc:
                if not left:
                    where = self._http.base_url
                    raise LabError(f"Prometheus at {where}: {type(exc).__name__}") from exc
                time.sleep(1)
        raise AssertionError

    def settle(self) -> None:
        """Wait until all services are scraped and rates are known; LabError if they are not."""

        def settled() -> bool:
            with suppress(LabError):
                up = {row["job"] for row in self.query('up{service!=""} == 1')}
                rates = self.query("service:http_requests:rate5m")
                return up >= set(KIT.services) and {row["service"] for row in rates} >= up
            return False

        if not until(settled, SETTLE_S, 0.5):
            raise LabError("Prometheus does not see all of gateway, auth and event: are they well?")

    def look(self) -> Found:
        """What every expression gives now; the watchdog, which is always true, is left out."""
        found: Found = {}
        for alert in ALERTS:
            if alert.severity != "none":
                series = {_text(labels) for labels in self.query(alert.expr)}
                found[alert.name] = found.get(alert.name, set()) | series
        return found


def _text(labels: dict[str, str]) -> str:
    pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}"
