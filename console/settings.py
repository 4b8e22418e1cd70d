"""What the console can be told, by environment variables of the same names."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from pydantic import AliasChoices, Field, SecretStr, model_validator

from shared.settings import ServiceSettings


class ConsoleSettings(ServiceSettings):
    """Settings of the console; every one has a default that fits the demo."""

    port: int = Field(8080, validation_alias=AliasChoices("CONSOLE_PORT", "PORT"))
    otlp_port: int = 4318
    console_token: SecretStr | None = None  # required unless it listens on loopback
    log_dir: Path = Path(".local/logs")
    reader_email: str = ""  # an account that may read the names of events and rewards
    reader_password: SecretStr | None = None
    # of the demo: without reader_email its auditor is used
    seed_file: Path = Path(".local/seed.json")
    loki_url: str = ""  # where lines come from when there are no files
    grafana_link: str = ""  # as the browser reaches it
    jaeger_link: str = ""
    services: str = (  # what is scraped: name=address, separated by commas
        "gateway=http://127.0.0.1:8000,auth=http://127.0.0.1:8001,event=http://127.0.0.1:8002"
    )

    @model_validator(mode="after")
    def _guarded(self) -> ConsoleSettings:
        if not self.loopback and len(self.token) < 16:
            raise ValueError(
                f"CONSOLE_TOKEN of at least 16 characters is needed to listen on {self.host}, "
                "which others can reach (or set HOST=127.0.0.1)"
            )
        return self

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def token(self) -> str:
        """The token, or an empty string."""
        return self.console_token.get_secret_value() if self.console_token else ""

    @property
    def targets(self) -> dict[str, str]:
        """Addresses of the watched services by name."""
        pairs = (part.partition("=") for part in self.services.split(","))
        return {name.strip(): url.strip().rstrip("/") for name, _, url in pairs if url}

    @property
    def password(self) -> str:
        """The password of the reader's account, or an empty string."""
        return self.reader_password.get_secret_value() if self.reader_password else ""

    @property
    def links(self) -> dict[str, str]:
        """Where a request can be seen elsewhere; `{trace}` stands for its trace ID."""
        logs = {"refId": "A", "expr": '{service=~".+"} | trace_id="{trace}"'}
        hours = {"from": "now-6h", "to": "now"}
        explore = {"datasource": "loki", "queries": [logs], "range": hours}
        left = quote(json.dumps(explore)).replace("%7Btrace%7D", "{trace}")
        links = {}
        if self.jaeger_link:
            links["in_jaeger"] = f"{self.jaeger_link.rstrip('/')}/trace/{{trace}}"
        if self.grafana_link:
            links["in_grafana"] = f"{self.grafana_link.rstrip('/')}/explore?left={left}"
        return links
