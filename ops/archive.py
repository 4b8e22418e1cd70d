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


class Archive:
    """One day of one kind of log in a directory."""

    def __init__(self, directory: Path, log_type: str, day: date) -> None:
        self.log_type, self.day = log_type, day
        self.file = directory / log_type / f"{day}.ndjson.zst"
        self.manifest = directory / log_type / f"{day}.manifest.json"
        self.start_ns = day_start_ns(day)
        self.end_ns = self.start_ns + DAY_NS

    def in_loki(self, client: httpx.Client) -> Iterator[Line]:
        """The lines of that day which Loki holds."""
        return query_lines(client, self.log_type, self.start_ns, self.end_ns)

    def write(self, lines: Iterable[Line]) -> Manifest:
        """Write archive, then manifest; each appears whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft, count, times = self.file.with_suffix(".new"), 0, list[int]()
        compressor = zstandard.ZstdCompressor(level=10)
        with draft.open("wb") as raw, compressor.stream_writer(raw) as out:
            for count, line in enumerate(lines, 1):
                out.write(line.json())
                times = [*times[:1], line.time_ns]  # the first and the last
                if count % 50_000 == 0:
                    typer.echo(f"  {count:,} lines", err=True)
        first, last = (rfc3339(times[at]) if times else None for at in (0, -1))
        manifest = Manifest(self.log_type, f"{self.day}", count, first, last, digest(draft))
        draft.replace(self.file)
        draft = self.manifest.with_suffix(".new")
        draft.write_text(json.dumps(asdict(manifest), indent=2) + "\n")
        draft.replace(self.manifest)
        return manifest

    def read(self) -> Iterator[Line]:
        """The lines that were written."""
        decompressor = zstandard.ZstdDecompressor()
        with self.file.open("rb") as raw, decompressor.stream_reader(raw) as stream:
            for text in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
                yield Line(**json.loads(text))

    def verified(self) -> Manifest:
        """The manifest of an archive that holds just what it says; ArchiveError otherwise."""
        for path in (self.file, self.manifest):
            if not path.exists():
                raise ArchiveError(f"{path} does not exist")
        try:
            manifest = Manifest(**json.loads(self.manifest.read_text()))
        except (ValueError, TypeError) as error:
            raise ArchiveError(f"{self.manifest} is no manifest: {error}") from error
        if digest(self.file) != manifest.sha256:
            raise ArchiveError(f"{self.file} is not the file its manifest names (SHA-256 differs)")
        times = [line.time_ns for line in self.read()]
        if len(times) != manifest.count:
            said = f"{len(times)} lines, its manifest says {manifest.count}"
            raise ArchiveError(f"{self.file} holds {said}")
        if times != sorted(times) or any(not self.start_ns <= t < self.end_ns for t in times):
            raise ArchiveError(f"{self.file} has lines out of order or of another day")
        return manifest

    def restore(self, client: httpx.Client) -> int:
        """Push the lines that Loki does not hold yet; returns how many."""
        held = Counter(line.json() for line in self.in_loki(client))
        missing: list[Line] = []
        for line in self.read():
            if held[line.json()]:
                held[line.json()] -= 1
            else:
                missing.append(line)
        for first in range(0, len(missing), PUSH_LINES):
            push(client, missing[first : first + PUSH_LINES])
        return len(missing)

    def export(self, loki: str) -> None:
        """Write it unless a good one is there already; tell what it has."""
        try:
            typer.echo(f"{self.log_type} {self.day}: kept, {self.verified().count:,} lines")
        except ArchiveError:
            with httpx.Client(base_url=loki, timeout=90, trust_env=False) as client:
                manifest = self.write(self.in_loki(client))
            said = f"{manifest.count:,} lines, {self.file.stat().st_size:,} bytes"
            typer.echo(f"{self.log_type} {self.day}: {said}")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


LokiUrl = Annotated[str, typer.Option("--loki", help="Address of Loki.")]
Directory = Annotated[Path, typer.Option(help="Where archives are kept.")]
LogType = Annotated[str, typer.Option("--type", help="general, error or security.")]
Day = Annotated[
    datetime, typer.Option("--day", formats=["%Y-%m-%d"], help="A day in UTC, YYYY-MM-DD.")
]
DEFAULT_DIRECTORY = Path("archive")


def of(directory: Path, log_type: str, day: datetime) -> Archive:
    """Refuse an unknown kind and a day that is not over."""
    if log_type not in LOG_TYPES:
        raise typer.BadParameter(f"{log_type!r} is none of {', '.join(LOG_TYPES)}")
    if day.date() >= datetime.now(UTC).date():
        raise typer.BadParameter("that day (UTC) is not over yet")
    return Archive(directory, log_type, day.date())


@app.command()
def export(
    log_type: LogType,
    day: Day,
    loki: LokiUrl = "http://127.0.0.1:3100",
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Write one day of one kind of log; a good archive that exists is kept."""
    of(directory, log_type, day).export(loki)


@app.command()
def verify(log_type: LogType, day: Day, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Check digest, count, order and time range of an archive."""
    manifest = of(directory, log_type, day).verified()
    typer.echo(f"{log_type} {manifest.day}: good, {manifest.count:,} lines")


@app.command()
def restore(
    log_type: LogType,
    day: Day,
    loki: LokiUrl = "http://127.0.0.1:3101",
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Push a verified archive into a Loki without retention; a repeat adds nothing."""
    archive = of(directory, log_type, day)
    manifest = archive.verified()
    with httpx.Client(base_url=loki, timeout=90, trust_env=False) as client:
        pushed = archive.restore(client)
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
            day = today - timedelta(days=back)
            try:
                Archive(directory, log_type, day).export(loki)
            except FAILED as error:
                typer.echo(f"{log_type} {day}: {error}", err=True)
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
