"""The little of Docker's API that `ready` reads through docker-proxy: containers and lines."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
HEADER = 8  # bytes before each chunk: the stream, three zeros, the length
ABOUT = ("dependency", "job", "exception_type", "exception_message", "error")  # said of a line
TAIL = 200  # lines of a container that are read at once


@dataclass(frozen=True)
class Container:
    """One container as the engine sees it; `health` is empty without a health check."""

    id: str
    service: str
    state: str
    health: str
    exit_code: int
    once: bool  # never started again: its work is done when it ends with 0
    memory: int  # limit in bytes, 0 for none
    tty: bool
    ports: dict[int, str] = field(default_factory=dict)  # inside: http address on this machine

    @property
    def well(self) -> bool:
        """Running and healthy, or done with its work."""
        if self.state == "running":
            return self.health in ("", "healthy")
        return self.once and self.state == "exited" and self.exit_code == 0

    @property
    def trouble(self) -> str:
        """What is wrong with it in a few words; empty while it is starting or well."""
        if self.health == "unhealthy" and self.state == "running":
            return "does not pass its health check"
        if self.state == "restarting" or (self.state == "exited" and self.exit_code):
            return f"ended with code {self.exit_code}"
        return ""


def read_container(about: dict[str, Any]) -> Container:
    """A container out of the engine's answer to `inspect`."""
    state, host = about["State"], about["HostConfig"]
    ports = {
        int(inside.split("/")[0]): f"http://{where[0]['HostIp']}:{where[0]['HostPort']}"
        for inside, where in (about["NetworkSettings"].get("Ports") or {}).items()
        if where
    }
    return Container(
        id=about["Id"],
        service=about["Config"]["Labels"].get(SERVICE, ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=state.get("ExitCode", 0),
        once=(host.get("RestartPolicy") or {}).get("Name") in ("", "no", None),
        memory=host.get("Memory") or 0,
        tty=about["Config"].get("Tty", False),
        ports=ports,
    )


class DockerApi:
    """Asks docker-proxy, or a socket (`unix:/path`), about the containers of one project."""

    def __init__(self, url: str, project: str) -> None:
        socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        self._http = httpx.Client(
            base_url="http://docker" if socket else url,
            transport=httpx.HTTPTransport(uds=socket),
            timeout=10,
            trust_env=False,
        )
        self._filter = json.dumps({"label": [f"{PROJECT}={project}", f"{ONE_OFF}=False"]})

    def containers(self) -> list[Container]:
        """All containers of the project but those of `docker compose run`."""
        listed = self._get("/containers/json", all=1, filters=self._filter).json()
        found = []
        for entry in listed:
            reply = self._http.get(f"/containers/{entry['Id']}/json")
            if reply.status_code != httpx.codes.NOT_FOUND:  # removed since the list was made
                found.append(read_container(reply.raise_for_status().json()))
        return found

    def lines(self, container: Container, since: str) -> list[tuple[str, str]]:
        """Lines after `since`, each with its time; both RFC 3339 in UTC, as the engine has it."""
        reply = self._get(
            f"/containers/{container.id}/logs",
            stdout=1,
            stderr=1,
            timestamps=1,
            tail=TAIL,
            since=int(datetime.fromisoformat(f"{since[:19]}+00:00").timestamp()),
        )
        text = reply.content if container.tty else unframed(reply.content)
        lines = (line.partition(" ") for line in text.decode("utf-8", "replace").splitlines())
        return sorted((at, rest) for at, _, rest in lines if at > since)

    def _get(self, path: str, **query: Any) -> httpx.Response:
        return self._http.get(path, params=query).raise_for_status()


def unframed(data: bytes) -> bytes:
    """The bytes of both streams without the headers between them."""
    parts = []
    while len(data) >= HEADER:
        size = int.from_bytes(data[4:HEADER], "big")
        parts.append(data[HEADER : HEADER + size])
        data = data[HEADER + size :]
    return b"".join(parts)


_LOGFMT = re.compile(r"\b(?:level|lvl)=\"?(\w+)")
_LOGFMT_TEXT = re.compile(r'\bmsg=("(?:[^"\\]|\\.)*"|\S+)')
_LEVELS = {
    "warn": "warning", "warning": "warning", "w": "warning",
    "error": "error", "err": "error", "eror": "error", "e": "error",
    "fatal": "critical", "critical": "critical", "panic": "critical", "dpanic": "critical",
    "f": "critical", "crit": "critical",
}  # fmt: skip


def bad_news(text: str) -> tuple[str, str] | None:
    """Level and words of a line that warns or worse, whichever program wrote it; else None."""
    level, words = "", text
    if text.startswith("{"):
        level, words = _of_json(text)
    elif found := _LOGFMT.search(text):
        level = found[1]
        said = _LOGFMT_TEXT.search(text)
        words = said[1].strip('"') if said else text
    elif re.match(r"\d+:[A-Z] .* # ", text):  # Redis marks what matters with #
        level, words = "warning", text.partition(" # ")[2]
    elif text.startswith(("Traceback ", "panic: ", "fatal: ")):
        level = "error"
    known = _LEVELS.get(level.lower())
    return (known, words) if known else None


def _of_json(text: str) -> tuple[str, str]:
    """Level and words of a line in JSON: ours, MongoDB's (`s`), or one of a Go program."""
    try:
        line = json.loads(text)
    except ValueError:
        return "", text
    if line.get("log_type") == "security":  # about callers: a wrong password is no fault here
        return "", text
    words = line.get("event") or line.get("message") or line.get("msg") or text
    about = (str(line[name]) for name in ABOUT if line.get(name))
    return str(line.get("level") or line.get("s") or ""), ", ".join((str(words), *about))
