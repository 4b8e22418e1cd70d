"""docker-compose.yml, as it is written and as compose reads it."""

import json
import os
import subprocess
from typing import Any

import yaml

from tests.ops.checks import program
from tests.stack.programs import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
CORE = {
    "core", "gateway", "auth", "event", "mongo", "redis", "prometheus", "grafana", "collector",
    "jaeger", "docker-proxy",
}  # fmt: skip


def resolved(*arguments: str, **environment: str) -> dict[str, Any]:
    """The file as compose reads it; no .env of this machine is looked at."""
    command = [program("docker-compose"), "--env-file", os.devnull, *arguments]
    plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**plain, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config
