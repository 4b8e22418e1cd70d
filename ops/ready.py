"""What a person sees of `docker compose up`: when everything runs and where, later what goes wrong.

All other containers are not attached to the terminal, or the one message that matters would be
gone in a second. Their warnings and errors come through here, each kind once in ten minutes.

    python -m ops.ready SERVICE ...    what has to run (docker-compose.yml)

Environment: PROJECT, DOCKER_API, and COLLECTOR_HEALTH, since the Collector's image has nothing
inside that could check it.
"""

import contextlib
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import httpx

from ops.docker_api import Container, DockerApi, bad_news

POLL_S = 3.0
AGAIN_S = 600.0  # the same kind of line is told again after that
SHOWN = 5  # lines of one service at once
WIDTH = 200  # characters of a line
REMEMBERED = 1000  # kinds of lines
MARK = Path("/tmp/ready")  # noqa: S108 - the container's own tmpfs; its health check looks for it

NAME = "event-rewards"  # of the project, as docker-compose.yml has it
ADDRESSES = (  # service, port inside, name, path, how to get in; {} is the command of compose
    ("gateway", 8000, "Gateway", "/docs", "accounts: {} exec seeder cat /state/seed.json"),
    ("grafana", 3000, "Grafana", "", "admin, {} exec grafana cat /secrets/grafana/admin_password"),
    ("console", 8080, "Console", "", "token: {} exec console cat /secrets/console/token"),
    ("jaeger", 16686, "Jaeger", "", "traces"),
    ("prometheus", 9090, "Prometheus", "", "metrics"),
    ("mailpit", 8025, "Mail", "", "mail that alerts would have sent"),
    ("notify-sink", 8090, "Messages", "", "what Slack and PagerDuty would have got"),
)


def say(text: str) -> None:
    """Print at once, whole."""
    print(text, flush=True)


def command(project: str) -> str:
    """How compose is called for this project: `-p` names one that is not called as usual."""
    return "docker compose" if project == NAME else f"docker compose -p {project}"


def message(containers: list[Container], took_s: float, compose: str = "docker compose") -> str:
    """Where everything is and how to get in; never a password, since this is shipped as a log."""
    lines = ["", f"Everything runs, after {took_s:.0f} s.", ""]
    running = {container.service for container in containers}
    for service, port, name, path, hint in ADDRESSES:
        found = sorted(
            container.ports[port] + path
            for container in containers
            if container.service == service and port in container.ports
        )
        if "seeder" in hint and "seeder" not in running:
            hint = ""  # noqa: PLW2901
        hint = hint.format(compose)  # noqa: PLW2901
        lines += [f"  {name:11}{found[0]:32}{hint}".rstrip()] if found else []
    limit = sum(container.memory for container in containers if not container.once)
    lines += [
        "",
        f"  Memory: at most {limit // 2**20:,} MB. Less: {compose} up core",
        f"  Stop: Ctrl-C or {compose} stop; all data stays. {compose} down -v deletes it.",
        f"  Warnings and errors of all programs follow here; all lines: {compose} logs SERVICE",
        "",
    ]
    return "\n".join(lines)


class News:
    """Lines that warn, told once per kind; knows how far each container's log was read."""

    def __init__(self, compose: str = "docker compose") -> None:
        self._compose = compose
        self._read: dict[str, str] = {}
        self._told: dict[str, float] = {}

    def fetch(self, api: DockerApi, containers: list[Container], since: str) -> list[str]:
        """What is new and has not been told lately; of a new container nothing before `since`."""
        news: list[str] = []
        ids = {container.id for container in containers}
        self._read = {id_: at for id_, at in self._read.items() if id_ in ids}
        for container in containers:
            if container.state == "created":
                continue
            lines = api.lines(container, self._read.setdefault(container.id, since))
            if lines:
                self._read[container.id] = lines[-1][0]
            news += self.of_service(container.service, [text for _, text in lines])
        return news

    def of_service(self, service: str, texts: list[str]) -> list[str]:
        """The lines among these that warn, as they are printed."""
        found = []
        for text in texts:
            if bad := bad_news(text):
                level, words = bad
                kind = f"{service} {level} {re.sub(r'[0-9a-f]{8,}|[0-9]+', '#', words)[:WIDTH]}"
                if self._new(kind):
                    found.append(f"{service}: {level}: {words[:WIDTH]}")
        left = len(found) - SHOWN
        more = [f"{service}: {left} more: {self._compose} logs {service}"] if left > 0 else []
        return found[:SHOWN] + more

    def _new(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._told.get(kind, -AGAIN_S) < AGAIN_S:
            return False
        while len(self._told) >= REMEMBERED:
            self._told.pop(next(iter(self._told)))
        self._told[kind] = now
        return True


def answers(url: str) -> bool:
    """Whether a health page says 200 within 2 s."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
    return False


def watch(api: DockerApi, wanted: set[str], collector_health: str, compose: str) -> None:
    """Wait until all of `wanted` is well, say so, then pass on what goes wrong; never returns."""
    began, ready, news = time.monotonic(), False, News(compose)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    troubles: Counter[str] = Counter()
    complained = False
    while True:
        try:
            containers = [each for each in api.containers() if each.service in wanted]
            for line in news.fetch(api, containers, since):
                say(line)
        except (httpx.HTTPError, KeyError, ValueError) as error:
            if not complained:
                say(f"docker-proxy cannot be asked ({error}); state: {compose} ps -a")
            complained = True
            time.sleep(POLL_S)
            continue
        complained = False
        now = Counter({f"{each.service} {each.trouble}": 1 for each in containers if each.trouble})
        for trouble in now - troubles:
            say(f"{trouble}: {compose} logs {trouble.split()[0]}")
        troubles = now
        missing = wanted - {each.service for each in containers if each.well}
        missing |= {each.service for each in containers if not each.well}
        if not ready and not missing and (not collector_health or answers(collector_health)):
            ready = True
            text = message(containers, time.monotonic() - began, compose)
            MARK.write_text(text)
            say(text)
        time.sleep(POLL_S)


def main(wanted: list[str]) -> None:
    """Watch until the container is told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    MARK.unlink(missing_ok=True)
    say("Starting. The first time images are pulled and data is made, which takes minutes.")
    project = os.environ["PROJECT"]
    api = DockerApi(os.environ["DOCKER_API"], project)
    watch(api, set(wanted), os.environ.get("COLLECTOR_HEALTH", ""), command(project))


if __name__ == "__main__":
    main(sys.argv[1:])
