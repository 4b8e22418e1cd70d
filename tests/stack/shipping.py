"""Log lines from files to Loki, labelled as telemetry/alloy.alloy says: Alloy itself is not here.

Which fields become labels and which structured metadata is read from that file, so that the two
cannot drift apart.
"""

import json
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

from ops.loki import Line, LokiError, push
from tests.stack.programs import ROOT

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
