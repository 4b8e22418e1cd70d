"""Alerts reach the channels of their severity: once when they fire, once when they are over."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import yaml

from lab.incidents import messages
from monitoring import alerts, channels, rules
from monitoring.settings import KIT
from plainview import Alert
from plainview.kit.documents import labels as labels_of
from tests.stack import delivery, programs
from tests.stack.stack import until
from tests.support.servers import free_port
from tests.support.trio import Trio

pytestmark = pytest.mark.timeout(400)
HOOKS = {each.caught_as for told in channels.CHANNELS.values() for each in told} - {"mail"}
CHANNELS = {
    severity: {channel.caught_as for channel in channels}
    for severity, channels in channels.CHANNELS.items()
}


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[delivery.Sinks]:
    with delivery.sinks(tmp_path) as sinks:
        yield sinks


def post(url: str, posted: Iterable[Alert], began: datetime, ends: datetime) -> None:
    """Alerts as Prometheus would send them; the summary with something for its value."""
    times = {"startsAt": began.isoformat(), "endsAt": ends.isoformat()}
    sent = [
        {
            "labels": {"alertname": alert.name, "service": "event", **labels_of(alert)},
            "annotations": {
                **rules.documents().texts_of(alert),
                "summary": f"what {alert.name} says",
            },
            **times,
        }
        for alert in posted
    ]
    httpx.post(f"{url}/api/v2/alerts", json=sent, timeout=30).raise_for_status()


def received(sinks: delivery.Sinks, state: str) -> dict[str, set[str]]:
    """Name of the alert to the channels that told of it, each by what it shows a person."""
    found: dict[str, set[str]] = {}
    for channel in HOOKS:
        for entry in sinks.hooks(channel):
            if entry["state"] == state:
                said = str(entry["message"])
                for name in re.findall(r"(?:what|RESOLVED) (\w+) (?:says|of)", said):
                    found.setdefault(name, set()).add(channel)
    for mail in sinks.mails():
        if mail["Subject"].startswith(state.upper()):
            name = mail["Subject"].split()[1].removesuffix(":")
            found.setdefault(name, set()).add("mail")
    return found


def await_all(sinks: delivery.Sinks, state: str, expected: Mapping[str, set[str]]) -> None:
    """Wait until each alert has reached its channels, and no other."""
    with suppress(AssertionError):
        until(lambda: received(sinks, state) == expected)
    found = received(sinks, state)
    assert found == expected  # says which alert missed which channel


def test_every_alert_reaches_the_channels_of_its_severity(
    sinks: delivery.Sinks, tmp_path: Path
) -> None:
    """All alerts fire and end; waits are shortened, the tree and the texts are the shipped ones."""
    began = datetime.now(UTC)
    expected = {alert.name: CHANNELS[alert.severity] for alert in alerts.ALERTS}
    told = {name: to for name, to in expected.items() if to != {"deadman"}}
    with delivery.alertmanager(tmp_path, sinks, quick=True) as url:
        post(url, alerts.ALERTS, began, began + timedelta(hours=1))
        await_all(sinks, "firing", expected)
        post(url, alerts.ALERTS, began, datetime.now(UTC))
        await_all(sinks, "resolved", told)

    # the break-it lab reads the same sinks
    for alert in alerts.ALERTS:
        if alert.severity != "none":
            read = messages.received(alert.name, began.timestamp() - 1, sinks.hook, sinks.mail)
            assert {(one.channel, one.state) for one in read} == {
                (channel, state)
                for channel in CHANNELS[alert.severity]
                for state in ("firing", "resolved")
            }, alert.name

    counts = Counter(channel for told_of in told.values() for channel in told_of)
    for channel in HOOKS - {"deadman"}:
        states = Counter(message["state"] for message in sinks.hooks(channel))
        count = counts[channel]
        assert states == {"firing": count, "resolved": count}, channel
    for entry in sinks.hooks("slack"):
        (attachment,) = entry["message"]["attachments"]
        fires = entry["state"] == "firing"
        assert (" says" in attachment["title"]) == fires
        assert ("is over after" in attachment["title"]) != fires
        assert (KIT.handbook + "/runbooks/" in attachment["text"]) == fires
        assert f"Dashboard: {KIT.grafana}/d/" in attachment["text"]
    for entry in sinks.hooks("pagerduty"):  # what wakes somebody is the sentence
        if entry["state"] == "firing":
            assert re.search(r"what \w+ says", entry["message"]["payload"]["summary"])
    for mail in sinks.mails():
        assert re.search(r": what \w+ says| is over after ", mail["Subject"])


def test_the_watchdog_comes_as_often_as_its_runbook_says(
    sinks: delivery.Sinks, tmp_path: Path
) -> None:
    """Every five minutes, here of a second each; with the shipped ratios of the waits."""
    assert "every five minutes" in (rules.ROOT / rules.RUNBOOKS / "watchdog.md").read_text()
    watchdog = [alert for alert in alerts.ALERTS if alert.name == "Watchdog"]
    began = datetime.now(UTC)
    with delivery.alertmanager(tmp_path, sinks, faster=60) as url:
        post(url, watchdog, began, began + timedelta(hours=1))
        until(lambda: len(sinks.hooks("deadman")) >= 4, 60, "four messages of the watchdog")
    at = [datetime.fromisoformat(entry["at"]).timestamp() for entry in sinks.hooks("deadman")]
    gaps = [late - early for early, late in pairwise(at)]
    assert min(gaps) == pytest.approx(5, abs=0.6), gaps  # others may be late on a busy machine


def test_maintenance_mutes_warnings_and_never_what_is_critical(
    sinks: delivery.Sinks, tmp_path: Path
) -> None:
    names = defaultdict[str, set[str]](set)
    for alert in alerts.ALERTS:
        names[alert.severity].add(alert.name)
    now = datetime.now(UTC)
    with delivery.alertmanager(tmp_path, sinks, quick=True, maintenance=True) as url:
        post(url, alerts.ALERTS, now, now + timedelta(hours=1))
        until(lambda: names["critical"] <= set(received(sinks, "firing")), what="critical ones")
        time.sleep(3)  # three group intervals more
        assert not names["warning"] & set(received(sinks, "firing"))


@pytest.mark.timeout(700)
def test_a_service_that_dies_is_told_once_and_its_return_once(
    sinks: delivery.Sinks, trio: Trio, tmp_path: Path
) -> None:
    """With the shipped rules and times, each message within three minutes of the fact."""
    port = free_port()
    targets = {service.name: [f"127.0.0.1:{service.port}"] for service in trio.services}
    prometheus = programs.prometheus(tmp_path / "prometheus", port, targets)
    file = tmp_path / "prometheus" / "prometheus.yml"
    config = yaml.safe_load(file.read_text())

    def up() -> float:
        query = {"query": 'sum(up{service!=""})'}
        url = f"http://127.0.0.1:{port}/api/v1/query"
        rows = httpx.get(url, params=query, timeout=30).json()
        return float(rows["data"]["result"][0]["value"][1]) if rows["data"]["result"] else 0

    def told(state: str) -> list[int]:
        """How often in Slack, how often in PagerDuty."""
        return [
            sum(
                entry["state"] == state and "ServiceDown" in str(entry["message"])
                for entry in sinks.hooks(channel)
            )
            for channel in ("slack", "pagerduty")
        ]

    with delivery.alertmanager(tmp_path, sinks) as url:
        managers = [{"static_configs": [{"targets": [url.removeprefix("http://")]}]}]
        config["alerting"] = {"alertmanagers": managers}
        file.write_text(yaml.safe_dump(config))
        with prometheus:
            until(lambda: up() == len(trio.services), what="scrapes of the services")
            (event,) = trio.events
            event.kill()
            until(lambda: told("firing") == [1, 1], 180, "ServiceDown in Slack and PagerDuty")
            assert told("resolved") == [0, 0]
            event.start().wait_ready()
            until(lambda: told("resolved") == [1, 1], 180, "its end in Slack and PagerDuty")
            assert told("firing") == [1, 1]
    assert any("Watchdog" in str(entry["message"]) for entry in sinks.hooks("deadman"))
    assert "Watchdog" not in str(sinks.hooks("slack"))
    assert sinks.mails() == []
