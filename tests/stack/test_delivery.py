"""Alerts reach the channels of their severity: once when they fire, once when they are over."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lab.incidents import messages
from monitoring import alerts, channels, rules
from monitoring.settings import KIT
from plainview import Alert
from plainview.kit.rules import labels as labels_of
from tests.stack import delivery, programs
from tests.stack.programs import Program
from tests.stack.stack import until
from tests.support.servers import free_port
from tests.support.trio import Trio

pytestmark = pytest.mark.timeout(400)
Json = dict[str, Any]
CHANNELS = {
    severity: {channel.caught_as for channel in channels}
    for severity, channels in channels.CHANNELS.items()
}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[Program], Program]]:
    with ExitStack() as opened:

        def start(program: Program) -> Program:
            opened.callback(program.stop)
            return program.start()

        yield start


@pytest.fixture
def sinks(run: Callable[[Program], Program], tmp_path: Path) -> delivery.Sinks:
    hook, hook_url = delivery.notify_sink(tmp_path)
    mail, mail_url, smtp = delivery.mailpit(tmp_path)
    run(hook)
    run(mail)
    return delivery.Sinks(hook_url, mail_url, smtp)


def posted(alert: Alert, **times: str) -> Json:
    """An alert as Prometheus would send it; the summary with something for its value."""
    texts = {**rules.rules().texts_of(alert), "summary": f"what {alert.name} says"}
    labels = {"alertname": alert.name, "service": "event", **labels_of(alert)}
    return {"labels": labels, "annotations": texts, **times}


def received(sinks: delivery.Sinks, state: str) -> dict[str, set[str]]:
    """Name of the alert to the channels that told of it, each by what it shows a person."""
    found: dict[str, set[str]] = {}
    for channel in ("slack", "pagerduty", "deadman"):
        for entry in sinks.hooks(channel):
            if entry["state"] == state:
                for name in re.findall(
                    r"(?:what|RESOLVED) (\w+) (?:says|of)", str(entry["message"])
                ):
                    found.setdefault(name, set()).add(channel)
    for mail in sinks.mails():
        if mail["Subject"].startswith(state.upper()):
            name = mail["Subject"].split()[1].removesuffix(":")
            found.setdefault(name, set()).add("mail")
    return found


def test_every_alert_reaches_the_channels_of_its_severity(
    run: Callable[[Program], Program], sinks: delivery.Sinks, tmp_path: Path
) -> None:
    """All alerts fire and end; waits are shortened, the tree and the texts are the shipped ones."""
    program, url = delivery.alertmanager(tmp_path / "am", sinks, quick=True)
    run(program)
    began = datetime.now(UTC)
    later = (began + timedelta(hours=1)).isoformat()
    firing = [posted(alert, startsAt=began.isoformat(), endsAt=later) for alert in alerts.ALERTS]
    httpx.post(f"{url}/api/v2/alerts", json=firing, timeout=30).raise_for_status()
    expected = {alert.name: CHANNELS[alert.severity] for alert in alerts.ALERTS}
    until(lambda: received(sinks, "firing") == expected, what="the messages that alerts fire")

    ended = datetime.now(UTC).isoformat()
    over = [posted(alert, startsAt=began.isoformat(), endsAt=ended) for alert in alerts.ALERTS]
    httpx.post(f"{url}/api/v2/alerts", json=over, timeout=30).raise_for_status()
    told = {name: to for name, to in expected.items() if to != {"deadman"}}
    until(lambda: received(sinks, "resolved") == told, what="the messages that alerts are over")

    # the break-it lab reads the same sinks
    for alert in alerts.ALERTS:
        if alert.severity != "none":
            read = messages.received(alert.name, began.timestamp() - 1, sinks.hook, sinks.mail)
            assert {(one.channel, one.state) for one in read} == {
                (channel, state)
                for channel in CHANNELS[alert.severity]
                for state in ("firing", "resolved")
            }, alert.name

    groups = Counter(alert.severity for alert in {a.name: a for a in alerts.ALERTS}.values())
    for channel, count in {
        "slack": groups["critical"] + groups["warning"], "pagerduty": groups["critical"],
    }.items():  # fmt: skip
        assert Counter(m["state"] for m in sinks.hooks(channel)) == {
            "firing": count, "resolved": count,
        }, channel  # fmt: skip
    for entry in sinks.hooks("slack"):
        (attachment,) = entry["message"]["attachments"]
        fires = entry["state"] == "firing"
        assert (" says" in attachment["title"], "is over after" in attachment["title"]) == (
            fires,
            not fires,
        )
        assert (KIT.handbook + "/runbooks/" in attachment["text"]) == fires
        assert f"Dashboard: {KIT.grafana}/d/" in attachment["text"]
    for entry in sinks.hooks("pagerduty"):  # what wakes somebody is the sentence
        if entry["state"] == "firing":
            assert re.search(r"what \w+ says", entry["message"]["payload"]["summary"])
    for mail in sinks.mails():
        assert re.search(r": what \w+ says| is over after ", mail["Subject"])


def test_the_watchdog_comes_as_often_as_its_runbook_says(
    run: Callable[[Program], Program], sinks: delivery.Sinks, tmp_path: Path
) -> None:
    """Every five minutes, here of a second each; with the shipped ratios of the waits."""
    assert "every five minutes" in (rules.ROOT / rules.RUNBOOKS / "watchdog.md").read_text()
    program, url = delivery.alertmanager(tmp_path / "am", sinks, faster=60)
    run(program)
    (watchdog,) = [alert for alert in alerts.ALERTS if alert.name == "Watchdog"]
    began = datetime.now(UTC)
    times = {"startsAt": began.isoformat(), "endsAt": (began + timedelta(hours=1)).isoformat()}
    httpx.post(f"{url}/api/v2/alerts", json=[posted(watchdog, **times)]).raise_for_status()
    until(lambda: len(sinks.hooks("deadman")) >= 4, 60, "four messages of the watchdog")
    at = [datetime.fromisoformat(entry["at"]).timestamp() for entry in sinks.hooks("deadman")]
    gaps = [late - early for early, late in pairwise(at)]
    assert min(gaps) == pytest.approx(5, abs=0.6), gaps  # others may be late on a busy machine


def test_maintenance_mutes_warnings_and_never_what_is_critical(
    run: Callable[[Program], Program], sinks: delivery.Sinks, tmp_path: Path
) -> None:
    program, url = delivery.alertmanager(tmp_path / "am", sinks, quick=True, maintenance=True)
    run(program)
    now = datetime.now(UTC)
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
    both = [posted(alert, **times) for alert in alerts.ALERTS]
    httpx.post(f"{url}/api/v2/alerts", json=both, timeout=30).raise_for_status()
    critical = {alert.name for alert in alerts.ALERTS if alert.severity == "critical"}
    until(lambda: critical <= set(received(sinks, "firing")), what="the critical ones")
    time.sleep(3)  # three group intervals more
    warned = {alert.name for alert in alerts.ALERTS if alert.severity == "warning"}
    assert not warned & set(received(sinks, "firing"))


@pytest.mark.timeout(700)
def test_a_service_that_dies_is_told_once_and_its_return_once(
    run: Callable[[Program], Program], sinks: delivery.Sinks, trio: Trio, tmp_path: Path
) -> None:
    """With the shipped rules and times, each message within three minutes of the fact."""
    manager, url = delivery.alertmanager(tmp_path / "am", sinks)
    run(manager)
    port = free_port()
    targets = {service.name: [f"127.0.0.1:{service.port}"] for service in trio.services}
    prometheus = programs.prometheus(tmp_path / "prometheus", port, targets)
    file = tmp_path / "prometheus" / "prometheus.yml"
    config = yaml.safe_load(file.read_text())
    config["alerting"] = {
        "alertmanagers": [{"static_configs": [{"targets": [url.removeprefix("http://")]}]}]
    }
    file.write_text(yaml.safe_dump(config))
    run(prometheus)

    def up() -> float:
        query = {"query": 'sum(up{service!=""})'}
        url = f"http://127.0.0.1:{port}/api/v1/query"
        rows = httpx.get(url, params=query, timeout=30).json()
        return float(rows["data"]["result"][0]["value"][1]) if rows["data"]["result"] else 0

    def told(state: str) -> dict[str, int]:
        return {
            channel: sum(
                entry["state"] == state and "ServiceDown" in str(entry["message"])
                for entry in sinks.hooks(channel)
            )
            for channel in ("slack", "pagerduty")
        }

    once, never = {"slack": 1, "pagerduty": 1}, {"slack": 0, "pagerduty": 0}
    until(lambda: up() == len(trio.services), what="scrapes of the services")
    (event,) = trio.events
    event.kill()
    until(lambda: told("firing") == once, 180, "ServiceDown in Slack and PagerDuty")
    assert told("resolved") == never
    event.start().wait_ready()
    until(lambda: told("resolved") == once, 180, "its end in Slack and PagerDuty")
    assert told("firing") == once
    assert any("Watchdog" in str(entry["message"]) for entry in sinks.hooks("deadman"))
    assert "Watchdog" not in str(sinks.hooks("slack"))
    assert sinks.mails() == []
