"""Who hears of what: each channel once, and the severities that it is told of.

Addresses are variables of the environment: `docker-compose.yml` gives each a value that works,
because an empty one stops Grafana. What the messages say is in
grafana/provisioning/alerting/messages.yaml.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plainview.kit.documents import yaml_text

Json = dict[str, Any]
NOTIFICATIONS = Path("grafana/provisioning/alerting/notifications.yaml")
TITLE, TEXT = '{{ template "er.title" . }}', '{{ template "er.text" . }}'


@dataclass(frozen=True)
class Channel:
    """A way to people: `kind` and `settings` are those of a Grafana contact point's receiver."""

    name: str  # as people call it
    kind: str
    settings: Mapping[str, Any]
    caught_as: str  # what the local catchers call it: the notification sink, or Mailpit ("mail")
    resolved: bool = True  # whether it is told when an alert is over


@dataclass(frozen=True)
class Route:
    """Which alerts go to which channels, and how Grafana groups and repeats them."""

    severity: str
    channels: tuple[Channel, ...]
    timing: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""  # of Grafana's contact point, else the severity's

    @property
    def receiver(self) -> str:
        """The name of Grafana's contact point."""
        return self.name or self.severity


SLACK = Channel(
    "Slack", "slack",
    {"url": "$SLACK_WEBHOOK_URL", "username": "Grafana", "title": TITLE, "text": TEXT},
    caught_as="slack",
)  # fmt: skip
PAGERDUTY = Channel(
    "PagerDuty", "pagerduty",
    {
        "integrationKey": "$PAGERDUTY_KEY", "url": "$PAGERDUTY_URL", "severity": "critical",
        "class": "{{ .CommonLabels.alertname }}", "summary": TITLE,
        # These two have texts of Grafana's own, which would be sent beside ours.
        "details": {
            "firing": '{{ template "er.firing" . }}',
            "resolved": '{{ template "er.resolved" . }}',
        },
    },
    caught_as="pagerduty",
)  # fmt: skip
# Grafana escapes the text; grafana/emails/ puts it into a mail in which links are links.
EMAIL = Channel(
    "e-mail", "email",
    {"addresses": "$ALERT_EMAIL_TO", "singleEmail": True, "subject": TITLE, "message": TEXT},
    caught_as="mail",
)  # fmt: skip
DEADMAN = Channel(
    "the dead man's switch", "webhook", {"url": "$DEADMAN_URL", "httpMethod": "POST"},
    caught_as="deadman", resolved=False,
)  # fmt: skip

# The first route that matches decides. The watchdog has severity none: in Slack it is noise.
ROUTES = (
    Route(
        "none", (DEADMAN,), name="deadman",
        # Looked at every minute; at the fifth the last one is a moment less than 5 minutes ago.
        timing={
            "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1m",
            "repeat_interval": "4m30s",
        },
    ),
    Route("critical", (PAGERDUTY, SLACK), {"repeat_interval": "1h"}),
    Route(
        "ticket", (EMAIL,), {"group_wait": "5m", "group_interval": "1h", "repeat_interval": "1d"}
    ),
    # Warnings wait while the platform is maintained; critical alerts never do.
    Route("warning", (SLACK,), {"mute_time_intervals": ["maintenance"]}),
)  # fmt: skip
CHANNELS = {route.severity: route.channels for route in ROUTES}
FALLBACK = "warning"  # the severity of what matches no route


def notifications() -> Json:
    """Contact points and the tree of policies, as Grafana provisions them."""

    def receiver(route: Route, channel: Channel) -> Json:
        return {
            "uid": f"{route.receiver}-{channel.kind}", "type": channel.kind,
            "disableResolveMessage": not channel.resolved, "settings": dict(channel.settings),
        }  # fmt: skip

    points = [
        {
            "orgId": 1,
            "name": route.receiver,
            "receivers": [receiver(route, channel) for channel in route.channels],
        }
        for route in ROUTES
    ]
    routes = [
        {
            "receiver": route.receiver,
            "object_matchers": [["severity", "=", route.severity]],
            **route.timing,
        }
        for route in ROUTES
    ]
    tree = {
        "orgId": 1, "receiver": FALLBACK, "group_by": ["alertname", "service"],
        "group_wait": "10s", "group_interval": "1m", "repeat_interval": "4h", "routes": routes,
    }  # fmt: skip
    return {"apiVersion": 1, "contactPoints": points, "policies": [tree]}


def generated() -> dict[Path, str]:
    """Grafana's file."""
    head = "# Written by `make generate` from monitoring/channels.py: change that, not this.\n"
    return {NOTIFICATIONS: head + yaml_text(notifications())}
