"""Loki where it is to be had, what it answers, and lines from files to it.

Users bring Loki and Alloy from their releases: the stack tests neither build nor download them. So
it is not Alloy that ships the lines. Which fields become labels and which structured metadata is
read from telemetry/alloy.alloy, so that the two cannot drift apart.
"""

import json
import os
import re
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from ops.loki import Line, LokiError, push
from tests.stack.programs import CACHE, ROOT, Program
from tests.support.servers import free_ports

ANSWER_S = 60  # for an answer that a busy machine may give late
HOUR_NS = 3600 * 10**9


def missing(name: str) -> str:
    """Why a test that needs this program is skipped, and how to get it."""
    return (
        f"{name.capitalize()} is not here: put the program of its release on PATH, name it by "
        f"{name.upper()}, or put it at {CACHE}/{name}-<version>/{name}"
    )


def program(name: str = "loki") -> Path | None:
    """What `LOKI` (or `ALLOY`) names, or the program on PATH, or the one in the stack cache."""
    if named := os.environ.get(name.upper()):
        if not (found := shutil.which(named)):
            raise FileNotFoundError(f"{name.upper()}={named} is no program")
        return Path(found)
    if found := shutil.which(name):
        return Path(found)
    return max(CACHE.glob(f"{name}-*/{name}"), default=None)


class Loki:
    """Asks one Loki; an error status is raised."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **params: str | int) -> Any:
        """The `data` of an answer of its API: `get("labels")`."""
        reply = httpx.get(f"{self.url}/loki/api/v1/{path}", params=params, timeout=ANSWER_S)
        if reply.is_error:
            raise ValueError(f"{path} {params}: {reply.text}")
        return reply.json()["data"]

    def lines(self, expr: str) -> list[dict[str, Any]]:
        """Lines of the last hour: `labels` (structured metadata among them) and `line`."""
        now = time.time_ns()
        data = self.get("query_range", query=expr, start=now - HOUR_NS, end=now, limit=5000)
        return [
            {"labels": stream["stream"], "line": value[1]}
            for stream in data["result"]
            for value in stream["values"]
        ]

    def shown(self, expr: str, instant: bool, begin: float) -> list[str]:
        """What a panel shows of the time since `begin` (s since 1970): lines, or numbers."""
        times: dict[str, str | int] = {"start": int(begin * 1e9), "end": time.time_ns()}
        if instant:
            data = self.get("query", query=expr)
        else:
            data = self.get("query_range", query=expr, step="15", **times)
        rows = [[row["value"]] if "value" in row else row["values"] for row in data["result"]]
        found: list[str] = [value for row in rows for _, value, *_ in row]
        if data["resultType"] == "streams":
            return found
        return [value for value in found if value != "NaN"]


def prepared(directory: Path, binary: Path, config: str = "loki.yaml") -> tuple[Program, str]:
    """Loki on a configuration of telemetry/, not started yet, and its address."""
    port, grpc = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    environment = {
        "LOKI_HOST": "127.0.0.1",
        "LOKI_PORT": str(port),
        "LOKI_GRPC_PORT": str(grpc),
        "LOKI_DIR": str(directory / "data"),
    }
    file = ROOT / "telemetry" / config
    command = [str(binary), f"-config.file={file}", "-config.expand-env=true"]
    name = config.removesuffix(".yaml")
    return Program(name, command, f"{url}/ready", directory, environment), url


ALLOY = (ROOT / "telemetry" / "alloy.alloy").read_text()


def _stage(name: str) -> dict[str, str]:
    """The `values` of a stage: name to value."""
    (block,) = re.findall(rf"stage\.{name} \{{\s*values = \{{(.*?)\}}", ALLOY, re.S)
    return dict(re.findall(r'(\w+)\s*=\s*"(\w*)"', block))


LABELS, METADATA, STATIC = _stage("labels"), _stage("structured_metadata"), _stage("static_labels")


def line_of(service: str, text: str) -> Line:
    """A line that came now, with its labels and structured metadata."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    labels = {name: str(fields[name]) for name in LABELS if fields.get(name)}
    metadata = {name: str(fields[name]) for name in METADATA if fields.get(name)}
    own = {"service": service, "environment": "local", **STATIC}
    return Line(time.time_ns(), {**own, **labels}, metadata, text)


class Shipper:
    """Follows files and pushes their lines to Loki until it is closed."""

    def __init__(self, loki_url: str, files: dict[Path, str]) -> None:
        self._url, self._files = loki_url, files
        self._read = dict.fromkeys(files, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        lines: list[Line] = []
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._stop.wait(0.5):
                for path, service in self._files.items():
                    lines += [line_of(service, text) for text in self._news(path)]
                # else all of them come again: Loki keeps once what has the same times
                with suppress(httpx.TransportError, LokiError):
                    if lines:
                        push(client, lines)
                    lines = []

    def _news(self, path: Path) -> list[str]:
        """The whole lines that were written since the last time."""
        with path.open("rb") as file:
            file.seek(self._read[path])
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read[path] += len(whole)
        return whole.decode().splitlines()
