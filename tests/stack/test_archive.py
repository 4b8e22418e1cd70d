"""ops/archive against real Loki: a day archived and restored loses and doubles nothing."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from monitoring.retention import hours, log_days
from ops.archive import LOG_TYPES, day_start_ns
from ops.loki import PAGE, Line, push, query_lines
from tests.stack.loki import prepared
from tests.stack.stack import until
from tests.support.processes import ended

pytestmark = pytest.mark.timeout(900)  # Loki starts twice, the tool nine times
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date()
START = day_start_ns(YESTERDAY)
END = START + 86_400 * 10**9


@pytest.fixture(scope="module")
def lokis(loki_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of two, by the file that they run on."""
    urls = {}
    with ExitStack() as running:
        for config in ("loki.yaml", "loki-restore.yaml"):
            program, urls[config] = prepared(tmp_path_factory.mktemp("loki"), loki_binary, config)
            running.enter_context(program)
        yield urls


def lines_of(url: str, log_type: str) -> Counter[bytes]:
    with httpx.Client(base_url=url, timeout=60) as client:
        return Counter(line.json() for line in query_lines(client, log_type, START, END))


def archive(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops.archive", *arguments, "--directory", str(directory)]
    day = ["--day", YESTERDAY.isoformat()]
    return ended([*command, *day], 300)


def test_retention_is_what_loki_reports(lokis: dict[str, str]) -> None:
    config = yaml.safe_load(httpx.get(f"{lokis['loki.yaml']}/config").text)
    limits = config["limits_config"]
    periods = {rule["selector"]: rule["period"] for rule in limits["retention_stream"]}
    kept = {
        "general": hours(limits["retention_period"]) // 24,
        **{kind: hours(periods[f'{{log_type="{kind}"}}']) // 24 for kind in ("error", "security")},
    }
    assert kept == log_days()
    assert config["compactor"]["retention_enabled"] is True


def test_a_day_survives_export_verify_restore(lokis: dict[str, str], tmp_path: Path) -> None:
    # Three services; runs of lines with one and the same time lie across the page's edge.
    sent = [
        Line(
            START + (index // 7) * 1_000_000,
            {"service": f"s{index % 3}", "log_type": "security", "level": "info"},
            {"request_id": f"request-{index:05}"},
            json.dumps({"event": "auth.signed_in", "number": index, "text": "한국어"}),
        )
        for index in range(PAGE * 2 + 1234)
    ]
    with httpx.Client(base_url=lokis["loki.yaml"], timeout=60) as client:
        for first in range(0, len(sent), 1000):
            push(client, sent[first : first + 1000])
        # Lines of yesterday that came today still are in memory; those of a real day are not.
        assert client.post("/flush").status_code == 204
    original = Counter(line.json() for line in sent)
    # it answers when the flush has begun
    until(lambda: lines_of(lokis["loki.yaml"], "security") == original, what="all lines")

    kind = ["--type", "security"]
    exported = archive("export", *kind, "--loki", lokis["loki.yaml"], directory=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert f"{len(sent):,} lines" in exported.stdout
    manifest = json.loads((tmp_path / f"security/{YESTERDAY}.manifest.json").read_text())
    assert manifest["count"] == len(sent)
    assert archive("verify", *kind, directory=tmp_path).returncode == 0

    again = archive("export", *kind, "--loki", lokis["loki.yaml"], directory=tmp_path)
    assert "kept" in again.stdout

    for _ in range(2):  # the second pushes nothing
        restored = archive(
            "restore", *kind, "--loki", lokis["loki-restore.yaml"], directory=tmp_path
        )
        assert restored.returncode == 0, restored.stderr
    assert restored.stdout.split(": ")[1].startswith("0 pushed")
    assert lines_of(lokis["loki-restore.yaml"], "security") == original


def test_a_changed_archive_is_refused(lokis: dict[str, str], tmp_path: Path) -> None:
    kind = ["--type", "general"]
    assert (
        archive("export", *kind, "--loki", lokis["loki.yaml"], directory=tmp_path).returncode == 0
    )
    file = tmp_path / f"general/{YESTERDAY}.ndjson.zst"
    file.write_bytes(file.read_bytes() + b"x")
    for command in (["verify"], ["restore", "--loki", lokis["loki-restore.yaml"]]):
        refused = archive(*command, *kind, directory=tmp_path)
        assert refused.returncode == 1
        assert "SHA-256 differs" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not lines_of(lokis["loki-restore.yaml"], "general")


def test_bad_input_is_told_plainly(tmp_path: Path) -> None:
    assert "none of" in archive("verify", "--type", "nonsense", directory=tmp_path).stderr
    missing = archive("verify", "--type", LOG_TYPES[0], directory=tmp_path)
    assert missing.returncode == 1
    assert "does not exist" in missing.stderr
    away = archive("export", "--type", "error", "--loki", "http://127.0.0.1:9", directory=tmp_path)
    assert away.returncode == 1
    assert "Traceback" not in away.stderr
