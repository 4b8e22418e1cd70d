"""Compose only: what Grafana sent about an alert, as the notification sink and the mail show it."""

import json
import os
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import httpx

from lab.processes import until
from monitoring.channels import CHANNELS, ROUTES
from plainview import Alert

SINK = f"http://127.0.0.1:{os.environ.get('SINK_PORT', '8090')}"
MAIL = f"http://127.0.0.1:{os.environ.get('MAIL_PORT', '8025')}"
WITHIN_S = 180.0  # seconds from a true rule to its message: evaluation, grouping, sending
UNIT_S = {"s": 1, "m": 60, "h": 3600}


class Message(NamedTuple):
    """One that came; `state` is firing or resolved, `at` seconds since the epoch."""

    channel: str
    state: str
    at: float


def received(alert: str, since: float, sink: str = SINK, mail: str = MAIL) -> list[Message]:
    """Messages that name the alert, oldest first; a program that is away has none."""
    found = [
        Message(entry["channel"], entry["state"], _seconds(entry["at"]))
        for entry in _get(f"{sink}/messages", [])
        if alert in json.dumps(entry["message"])
    ]
    for entry in _get(f"{mail}/api/v1/messages", {"messages": []})["messages"]:
        if alert in entry["Subject"]:
            state = "resolved" if "resolved" in entry["Subject"].lower() else "firing"
            found.append(Message("mail", state, _seconds(entry["Created"])))
    return sorted((one for one in found if one.at >= since), key=lambda one: one.at)


def await_all(alert: Alert, state: str, since: float, say: Callable[[str], None]) -> bool:
    """Wait until every channel of the alert's severity has one; tell each with its seconds."""
    missing = {channel.caught_as for channel in CHANNELS[alert.severity]}
    (route,) = [route for route in ROUTES if route.severity == alert.severity]
    wait_s = WITHIN_S
    if state == "firing":
        wait_s += seconds(alert.for_) + seconds(route.timing.get("group_wait", "0s"))
    elif seconds(interval := route.timing.get("group_interval", "1m")) > WITHIN_S:
        say(f"the {alert.severity} is said to be over within {interval}: not waited for")
        return True

    def look() -> bool:
        for one in received(alert.name, since):
            if one.state == state and one.channel in missing:
                missing.remove(one.channel)
                say(f"{one.channel} got it ({state}) after {one.at - since:.0f} s")
        return not missing

    say(f"waiting for Grafana's messages ({state}) to {', '.join(sorted(missing))}")
    if done := until(look, wait_s, 0.5):
        return done
    say(f"not within {wait_s:.0f} s: {', '.join(sorted(missing))}; look at {SINK} and {MAIL}")
    return False


def seconds(duration: str) -> float:
    """Seconds of `90s`, `5m` or `1h`."""
    number, unit = re.fullmatch(r"(\d+)([smh])", duration).groups()  # type: ignore[union-attr]
    return float(number) * UNIT_S[unit]


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _get(url: str, otherwise: Any) -> Any:
    try:
        return httpx.get(url, timeout=20).raise_for_status().json()
    except httpx.HTTPError:
        return otherwise
