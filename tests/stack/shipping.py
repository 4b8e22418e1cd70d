"""Log lines from files to Loki, labelled as telemetry/alloy.alloy says: Alloy itself is not here.

Which fields become labels and which structured metadata is read from that file, so that the two
cannot drift apart.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.stack.programs import ROOT

ALLOY = (ROOT / "telemetry" / "alloy.alloy").read_text()


def _stage(name: str) -> dict[str, str]:
    """The `values` of a stage: name to value."""
    (block,) = re.findall(rf"stage\.{name} \{{\s*values = \{{(.*?)\}}", ALLOY, re.S)
    return dict(re.findall(r'(\w+)\s*=\s*"(\w*)"', block))


LABELS, METADATA, STATIC = _stage("labels"), _stage("structured_metadata"), _stage("static_labels")


def entry(service: str, text: str) -> tuple[dict[str, str], list[Any]]:
    """Labels of one line, and its time in ns, text and structured metadata."""
    labels = {"service": service, "environment": "local", **STATIC}
    metadata: dict[str, str] = {}
    at = time.time_ns()
    try:
        line = json.loads(text)
    except ValueError:
        line = {}
    if isinstance(line, dict) and line:
        labels |= {name: str(line[name]) for name in LABELS if line.get(name)}
        metadata = {name: str(line[name]) for name in METADATA if line.get(name)}
    return labels, [str(at), text, metadata]


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
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._stop.wait(0.5):
                self.ship(client)

    def ship(self, client: httpx.Client) -> None:
        streams: dict[str, dict[str, Any]] = {}
        for path, service in self._files.items():
            with path.open("rb") as file:
                file.seek(self._read[path])
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read[path] += len(whole)
            for text in whole.decode().splitlines():
                labels, value = entry(service, text)
                key = json.dumps(labels, sort_keys=True)
                streams.setdefault(key, {"stream": labels, "values": []})["values"].append(value)
        if streams:
            self._push(client, {"streams": list(streams.values())})

    def _push(self, client: httpx.Client, lines: dict[str, Any]) -> None:
        """Until Loki has them; it keeps once what comes twice with the same times."""
        while True:
            with suppress(httpx.TransportError):
                reply = client.post("/loki/api/v1/push", json=lines)
                if reply.status_code != 429 and reply.status_code < 500:
                    reply.raise_for_status()
                    return
            if self._stop.wait(0.5):
                return
