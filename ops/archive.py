"""Keep a day of one kind of log beyond Loki's retention: export, verify, restore.

An archive is DIRECTORY/<log_type>/<day>.ndjson.zst, one line per log line in order of time,
with a manifest beside it (count, time range, SHA-256 of the compressed file).
"""

import hashlib
import io
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import httpx
import typer
import zstandard

from ops.loki import PUSH_LINES, Line, LokiError, push, query_lines, rfc3339

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

LOG_TYPES = ("general", "error", "security")
DAY_NS = 86_400 * 10**9


class ArchiveError(Exception):
    """An archive that cannot be made or trusted; the message says why."""


FAILED = (ArchiveError, LokiError, httpx.HTTPError)


@dataclass(frozen=True)
class Manifest:
    """What an archive must hold; times are RFC 3339, the digest is of the compressed file."""

    log_type: str
    day: str
    count: int
    first: str | None
    last: str | None
    sha256: str


def day_start_ns(day: date) -> int:
    """First nanosecond of a UTC day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9


def paths(directory: Path, log_type: str, day: date) -> tuple[Path, Path]:
    """The archive and its manifest."""
    base = directory / log_type
    return base / f"{day}.ndjson.zst", base / f"{day}.manifest.json"


def write_archive(directory: Path, log_type: str, day: date, lines: Iterable[Line]) -> Manifest:
    """Write archive, then manifest; each appears whole or not at all."""
    archive, manifest_path = paths(directory, log_type, day)
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_suffix(".new")
    count, first, last = 0, None, None
    with draft.open("wb") as raw, zstandard.ZstdCompressor(level=10).stream_writer(raw) as out:
        for line in lines:
            out.write(line.json())
            first = line.time_ns if first is None else first
            last = line.time_ns
            count += 1
            if count % 50_000 == 0:
                typer.echo(f"  {count:,} lines", err=True)
    manifest = Manifest(
        log_type,
        day.isoformat(),
        count,
        None if first is None else rfc3339(first),
        None if last is None else rfc3339(last),
        digest(draft),
    )
    draft.replace(archive)
    draft = manifest_path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    draft.replace(manifest_path)
    return manifest


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_archive(directory: Path, log_type: str, day: date) -> Iterator[Line]:
    """Read the lines of an archive."""
    archive, _ = paths(directory, log_type, day)
    with archive.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        for text in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
            yield Line(**json.loads(text))


def verified(directory: Path, log_type: str, day: date) -> Manifest:
    """Return the manifest of an archive that holds just what it says; ArchiveError otherwise."""
    archive, manifest_path = paths(directory, log_type, day)
    for path in (archive, manifest_path):
        if not path.exists():
            raise ArchiveError(f"{path} does not exist")
    try:
        manifest = Manifest(**json.loads(manifest_path.read_text()))
    except (ValueError, TypeError) as error:
        raise ArchiveError(f"{manifest_path} is no manifest: {error}") from error
    if digest(archive) != manifest.sha256:
        raise ArchiveError(f"{archive} is not the file its manifest names (SHA-256 differs)")
    times = [line.time_ns for line in read_archive(directory, log_type, day)]
    start = day_start_ns(day)
    if len(times) != manifest.count:
        raise ArchiveError(
            f"{archive} holds {len(times)} lines, its manifest says {manifest.count}"
        )
    if times != sorted(times) or any(not start <= time < start + DAY_NS for time in times):
        raise ArchiveError(f"{archive} has lines out of order or of another day")
    return manifest


def restore_lines(client: httpx.Client, directory: Path, log_type: str, day: date) -> int:
    """Push the lines that Loki does not hold yet; returns how many."""
    start = day_start_ns(day)
    held = Counter(line.json() for line in query_lines(client, log_type, start, start + DAY_NS))
    missing: list[Line] = []
    for line in read_archive(directory, log_type, day):
        if held[line.json()]:
            held[line.json()] -= 1
        else:
            missing.append(line)
    for first in range(0, len(missing), PUSH_LINES):
        push(client, missing[first : first + PUSH_LINES])
    return len(missing)


LokiUrl = Annotated[str, typer.Option("--loki", help="Address of Loki.")]
Directory = Annotated[Path, typer.Option(help="Where archives are kept.")]
LogType = Annotated[str, typer.Option("--type", help="general, error or security.")]
Day = Annotated[
    datetime, typer.Option("--day", formats=["%Y-%m-%d"], help="A day in UTC, YYYY-MM-DD.")
]
DEFAULT_DIRECTORY = Path("archive")


def checked(log_type: str, day: datetime) -> date:
    """Refuse an unknown kind and a day that is not over."""
    if log_type not in LOG_TYPES:
        raise typer.BadParameter(f"{log_type!r} is none of {', '.join(LOG_TYPES)}")
    if day.date() >= datetime.now(UTC).date():
        raise typer.BadParameter("that day (UTC) is not over yet")
    return day.date()


def export_day(loki: str, directory: Path, log_type: str, day: date) -> Manifest:
    """Export unless a good archive of that day is there already."""
    try:
        manifest = verified(directory, log_type, day)
        typer.echo(f"{log_type} {day}: kept, {manifest.count:,} lines")
        return manifest
    except ArchiveError:
        pass
    start = day_start_ns(day)
    with httpx.Client(base_url=loki, timeout=90, trust_env=False) as client:
        lines = query_lines(client, log_type, start, start + DAY_NS)
        manifest = write_archive(directory, log_type, day, lines)
    size = paths(directory, log_type, day)[0].stat().st_size
    typer.echo(f"{log_type} {day}: {manifest.count:,} lines, {size:,} bytes")
    return manifest


@app.command()
def export(
    log_type: LogType,
    day: Day,
    loki: LokiUrl = "http://127.0.0.1:3100",
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Write one day of one kind of log; a good archive that exists is kept."""
    export_day(loki, directory, log_type, checked(log_type, day))


@app.command()
def verify(log_type: LogType, day: Day, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Check digest, count, order and time range of an archive."""
    manifest = verified(directory, log_type, checked(log_type, day))
    typer.echo(f"{log_type} {manifest.day}: good, {manifest.count:,} lines")


@app.command()
def restore(
    log_type: LogType,
    day: Day,
    loki: LokiUrl = "http://127.0.0.1:3101",
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Push a verified archive into a Loki without retention; a repeat adds nothing."""
    manifest = verified(directory, log_type, checked(log_type, day))
    with httpx.Client(base_url=loki, timeout=90, trust_env=False) as client:
        pushed = restore_lines(client, directory, log_type, date.fromisoformat(manifest.day))
    typer.echo(f"{log_type} {manifest.day}: {pushed:,} pushed of {manifest.count:,} lines")


@app.command()
def schedule(
    loki: LokiUrl = "http://127.0.0.1:3100",
    directory: Directory = DEFAULT_DIRECTORY,
    days: Annotated[int, typer.Option(help="How many past days to look after.")] = 7,
) -> None:
    """Archive every finished day of every kind, then look again each hour, for ever."""
    while True:
        today = datetime.now(UTC).date()
        for back, log_type in ((b, t) for b in range(days, 0, -1) for t in LOG_TYPES):
            try:
                export_day(loki, directory, log_type, today - timedelta(days=back))
            except FAILED as error:
                typer.echo(f"{log_type} {today - timedelta(days=back)}: {error}", err=True)
        time.sleep(3600)


def main() -> None:
    """Run a command; what goes wrong is one line and exit code 1."""
    try:
        app()
    except FAILED as error:
        typer.echo(f"archive: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
