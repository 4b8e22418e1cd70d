"""Grafana's notification policies on a real Alertmanager, with the programs of compose as sinks.

Grafana itself is not to be had where this runs. It decides with Alertmanager's own code who hears
of an alert and when, so its file (grafana/provisioning/alerting/notifications.yaml) is translated,
word for word where both have the word, and run.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from monitoring.channels import CHANNELS
from tests.stack.programs import ROOT, Program, binary
from tests.support.servers import free_port, free_ports

Json = dict[str, Any]
PROVISIONED = ROOT / "grafana" / "provisioning" / "alerting"
TIMES = ("group_wait", "group_interval", "repeat_interval")


@dataclass
class Sinks:
    """Where messages go: those by hooks to one, e-mail to the other."""

    hook: str
    mail: str
    smtp: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def hooks(self, channel: str) -> list[Json]:
        """Messages of `slack` or another hook, oldest first."""
        params = {"channel": channel}
        found: list[Json] = self.http.get(f"{self.hook}/messages", params=params).json()
        return found

    def mails(self) -> list[Json]:
        """Mails with `Subject` and `Text`, oldest first."""
        url = f"{self.mail}/api/v1"
        found = self.http.get(f"{url}/messages", params={"limit": 500}).json()["messages"]
        return [self.http.get(f"{url}/message/{m['ID']}").json() for m in reversed(found)]


@contextmanager
def sinks(directory: Path) -> Iterator[Sinks]:
    """The sink for hooks and the mail catcher of compose."""
    hook, page, smtp = free_ports(3)
    found = Sinks(f"http://127.0.0.1:{hook}", f"http://127.0.0.1:{page}", f"127.0.0.1:{smtp}")
    catcher = [
        str(binary("mailpit")), "--listen", f"127.0.0.1:{page}", "--smtp", found.smtp,
        "--disable-version-check",
    ]  # fmt: skip
    command, port = [sys.executable, "-m", "ops.notify_sink"], {"PORT": str(hook)}
    with (
        Program("notify-sink", command, f"{found.hook}/health/live", directory, port),
        Program("mailpit", catcher, f"{found.mail}/readyz", directory),
    ):
        yield found


@contextmanager
def alertmanager(
    directory: Path, sinks: Sinks, quick: bool = False, maintenance: bool = False, faster: int = 1
) -> Iterator[str]:
    """Alertmanager on the provisioned policies; its address.

    `quick` shortens the waits, `maintenance` makes the mute timing last all day (and
    without it there is none, so that a test does not depend on the day of the week). With `faster`
    every wait is so many times shorter.
    """
    port = free_port()
    document: Json = {}
    for name in ("messages.yaml", "notifications.yaml"):
        document |= yaml.safe_load((PROVISIONED / name).read_text())
    environment = {
        "PAGERDUTY_KEY": "local-sink",
        "ALERT_EMAIL_TO": "operators@event-rewards.test",
        **{
            channel.settings["url"][1:]: f"{sinks.hook}/{channel.caught_as}"
            for told in CHANNELS.values()
            for channel in told
            if "url" in channel.settings
        },
    }
    (tree,) = document["policies"]
    config = {
        "global": {"smtp_smarthost": sinks.smtp, "smtp_from": "alerts@event-rewards.test",
                   "smtp_require_tls": False},
        "templates": [str(directory / "*.tmpl")],
        "receivers": [_receiver(point, environment) for point in document["contactPoints"]],
        "route": _route(tree, quick, maintenance, faster),
        "time_intervals": [
            {"name": mute["name"], "time_intervals": [{"weekdays": ["sunday:saturday"]}]}
            for mute in document["muteTimes"]
        ],
    }  # fmt: skip
    for template in document["templates"]:
        # only Grafana knows the address of a silence
        text = re.sub(r"\{\{ if \.SilenceURL.*?\{\{ end \}\}", "", template["template"], flags=re.S)
        (directory / f"{template['name']}.tmpl").write_text(text)
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{port}"
    command = [
        str(binary("alertmanager")), f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]  # fmt: skip
    with Program("alertmanager", command, f"{url}/-/ready", directory):
        yield url


def _route(route: Json, quick: bool, maintenance: bool, faster: int) -> Json:
    kept = {key: route[key] for key in ("receiver", "group_by", *TIMES) if key in route}
    if faster > 1:
        kept |= {key: _shorter(route[key], faster) for key in TIMES if key in route}
    if quick:
        # alerts of one group come in one request; on a busy machine not all in one second
        kept |= {"group_wait": "5s", "group_interval": "1s"}
    if maintenance and "mute_time_intervals" in route:
        kept["mute_time_intervals"] = route["mute_time_intervals"]
    kept["matchers"] = [
        f'{name}{how}"{value}"' for name, how, value in route.get("object_matchers", [])
    ]
    kept["routes"] = [
        _route(child, quick, maintenance, faster) for child in route.get("routes", [])
    ]
    return kept


def _shorter(duration: str, by: int) -> str:
    """`4m30s`, sixty times shorter, is `4500ms`."""
    units = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
    milliseconds = sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+)([dhms])", duration))
    return f"{milliseconds // by}ms"


def _receiver(point: Json, environment: dict[str, str]) -> Json:
    """One contact point; KeyError for a setting that has no counterpart, so that none is lost."""
    kinds = {  # of Grafana: Alertmanager's kind, and how it calls what Grafana calls otherwise
        "slack": ("slack", {"url": "api_url"}),
        "pagerduty": ("pagerduty", {"integrationKey": "routing_key", "summary": "description"}),
        "email": ("email", {"addresses": "to", "message": "text"}),
        "webhook": ("webhook", {}),
    }
    same = {"url", "username", "title", "text", "severity", "class", "details"}
    found: Json = {"name": point["name"]}
    for receiver in point["receivers"]:
        kind, names = kinds[receiver["type"]]
        settings: Json = {"send_resolved": not receiver.get("disableResolveMessage", False)}
        for key, given in receiver["settings"].items():
            if key in ("singleEmail", "httpMethod"):  # what Alertmanager does anyway
                continue
            value = environment.get(given[1:], given) if isinstance(given, str) else given
            if key == "subject":
                settings |= {"headers": {"Subject": value}, "html": ""}  # the text alone
                continue
            settings[key if key in same and key not in names else names[key]] = value
        found.setdefault(f"{kind}_configs", []).append(settings)
    return found
