"""Several worker processes behind one port: their metrics are shared by files, or a line says no.

prometheus_client keeps its values in files if `PROMETHEUS_MULTIPROC_DIR` names a directory, and
decides that at import, so this module is imported before the first metric is made. A page then has
the sums of all workers: counters and histograms of ended workers too, gauges of running ones.

The directory belongs to one server on one machine (process IDs name the files); what an earlier
run of the server left there goes on being counted.
"""

import fcntl
import os
import re
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from .guarded import guarded

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
LOST = "exemplars, process and Python metrics, created samples, collectors of the application"
_VALUES = re.compile(r"(counter|histogram|summary|gauge_[a-z]+)_(\d+|ended)\.db")
_LOCK_WAIT_S = 1.0


def _prepare() -> tuple[Path | None, list[str]]:
    """The directory if it can be used, and a sentence if it cannot."""
    text = os.environ.get(VARIABLE) or os.environ.get(VARIABLE.lower(), "")
    told: list[str] = []
    if text.strip():
        directory = Path(text)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with (directory / "plainview.lock").open("ab"):
                pass
        except OSError as error:
            told = [f"{VARIABLE}={text} is not used, so workers count apart: {error.strerror}"]
        else:
            os.environ[VARIABLE] = text
            if not values.ValueClass._multiprocess:  # the variable was set after the import
                values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
            return directory, told
    # prometheus_client looks whether the variable is there, and takes an empty one for a directory
    for name in (VARIABLE, VARIABLE.lower()):
        os.environ.pop(name, None)
    if values.ValueClass._multiprocess:
        values.ValueClass = values.MutexValue
    return None, told


DIRECTORY, TOLD = _prepare()


def _forget_namesake() -> None:
    """Remove gauges of an ended process that had this one's ID, before it has any of its own."""
    if DIRECTORY is not None and not _has_metrics():
        with suppress(OSError):
            mark_process_dead(os.getpid(), str(DIRECTORY))  # type: ignore[no-untyped-call]


_serving = False


def serving() -> None:
    """This process serves from now on, so its gauges count."""
    global _serving  # noqa: PLW0603 - one per process
    _serving = True
    if DIRECTORY is not None:
        with suppress(OSError):
            (DIRECTORY / f"{os.getpid()}.forked").unlink(missing_ok=True)


def _in_child() -> None:
    """Hide the gauges of a parent that has loaded the app but does not serve (`--preload`)."""
    _forget_namesake()
    if DIRECTORY is not None and not _serving:
        with suppress(OSError):
            (DIRECTORY / f"{os.getppid()}.forked").touch()


def _has_metrics() -> bool:
    """Whether somebody has made metrics in this very process before."""
    return _owner == os.getpid() and any(
        isinstance(one, MetricWrapperBase) for one in REGISTRY._collector_to_names
    )


def shared_registry() -> CollectorRegistry | None:
    """A registry of what all workers count; None if each counts for itself."""
    if DIRECTORY is None:
        return None
    registry = CollectorRegistry()
    registry.register(SharedMetrics(DIRECTORY))
    return registry


class SharedMetrics(Collector):
    """Reads the files of all workers, and joins those of ended ones so that they stay few.

    Gauges of other libraries whose mode outlives a worker (`all`, `max`, ...) are left as they are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """The metrics of all workers; a file that cannot be read is left out and counted."""
        with self._locked() as locked:
            if locked:
                with guarded("metrics"):
                    self._join_ended()
            idle = {file.stem for file in self._directory.glob("*.forked")}
            files = [
                str(file)
                for file, kind, pid in self._files()
                if pid not in idle or not kind.startswith("gauge_live")
            ]
            try:
                found = _read(files)
            except Exception:  # find out which file it is
                found = _read([file for file in files if _readable(file)])
        for metric in MultiProcessCollector._accumulate_metrics(found, True):  # type: ignore[no-untyped-call]
            if metric.type == "gauge":
                metric.samples = [one for one in metric.samples if one.value == one.value]
            yield metric

    def _files(self) -> Iterator[tuple[Path, str, str]]:
        """Files with values, each with its kind and process ID (or `ended`)."""
        for file in sorted(self._directory.iterdir()):
            match = _VALUES.fullmatch(file.name)
            with suppress(FileNotFoundError):
                if match and file.stat().st_size:  # a worker that has just made it fills it next
                    yield file, match[1], match[2]

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Keep other workers from joining files meanwhile; False if the lock is not to be had."""
        end = time.monotonic() + _LOCK_WAIT_S
        with (self._directory / "plainview.lock").open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    if time.monotonic() > end:
                        yield False
                        return
                    time.sleep(0.005)
                else:
                    yield True
                    return

    def _join_ended(self) -> None:
        """Add the values of ended workers up in one file per kind.

        A process may be killed at any point: `joined` lists the files that the new one contains,
        and is written before the new one gets its name.
        """
        self._remove_joined()
        for marker in self._directory.glob("*.forked"):
            if not _runs(int(marker.stem)):
                marker.unlink(missing_ok=True)
        ended: dict[str, list[Path]] = {}
        for file, kind, pid in self._files():
            if pid == "ended" or _runs(int(pid)):
                continue
            if not kind.startswith("gauge"):
                ended.setdefault(kind, []).append(file)
            elif kind.startswith("gauge_live"):
                file.unlink(missing_ok=True)
        for kind, files in ended.items():
            kept = self._directory / f"{kind}_ended.db"
            new, joined = kept.with_suffix(".new"), kept.with_suffix(".joined")
            new.unlink(missing_ok=True)
            sums = MmapedDict(str(new))  # type: ignore[no-untyped-call]
            for file in [*files, *([kept] if kept.exists() else [])]:
                if _readable(str(file)):
                    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
                        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
            sums.close()  # type: ignore[no-untyped-call]
            joined.write_text("\n".join(file.name for file in files))
            new.rename(kept)
        self._remove_joined()

    def _remove_joined(self) -> None:
        for joined in self._directory.glob("*.joined"):
            if not joined.with_suffix(".new").exists():  # else the new file is not in place yet
                for name in joined.read_text().split():
                    (self._directory / name).unlink(missing_ok=True)
            joined.unlink()


def _read(files: list[str]) -> dict[str, Metric]:
    found: dict[str, Metric] = MultiProcessCollector._read_metrics(files)  # type: ignore[no-untyped-call]
    for metric in found.values():
        # not a number stands for a series that a worker has removed
        if metric.type == "gauge" and "mostrecent" not in metric._multiprocess_mode:  # type: ignore[attr-defined]
            metric.samples = [one for one in metric.samples if one.value == one.value]
    return found


def _readable(file: str) -> bool:
    with guarded("metrics"):
        MultiProcessCollector._read_metrics([file])  # type: ignore[no-untyped-call]
        return True
    return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True


_places: dict[int, int] = {}  # by process ID, as a fork is another worker
_shared_sockets: dict[int, list[int]] = {}
# `struct flock` of Linux: type, whence, start, length, process ID
_FLOCK = "hhqqi"


def place() -> int:
    """0 for a server's first worker or only process, 1 for its second worker, 2 for all others.

    Workers share the listening socket, and each locks a byte of it. Where that is not possible
    (macOS) everyone is the first.
    """
    pid = os.getpid()
    if pid not in _places:
        with suppress(OSError):
            fds = [int(name) for name in os.listdir("/dev/fd")]  # noqa: PTH208 - numbers
            _shared_sockets[pid] = [fd for fd in fds if _is_listening(fd)]
            _places[pid] = max((_lock(fd) for fd in _shared_sockets[pid]), default=0)
    return _places.get(pid, 0)


def apart() -> bool:
    """Whether other workers of this server run now whose counts this process does not show.

    False where that cannot be seen (macOS).
    """
    if DIRECTORY is not None:
        return False
    return place() > 0 or any(_has_second(fd) for fd in _shared_sockets.get(os.getpid(), ()))


def _has_second(fd: int) -> bool:
    """Whether another process holds the lock of a second worker on this socket."""
    if not sys.platform.startswith("linux"):
        return False
    wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 1, 1, 0)
    try:
        held = fcntl.fcntl(fd, fcntl.F_GETLK, wanted)
    except OSError:  # closed meanwhile
        return False
    return bool(struct.unpack(_FLOCK, held)[0] != fcntl.F_UNLCK)


def _is_listening(fd: int) -> bool:
    """Whether this is a TCP or Unix socket with an address of its own and no peer."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return False
        one = socket.socket(fileno=fd)
    except OSError:
        return False
    try:
        name = one.getsockname()
        if one.type != socket.SOCK_STREAM or not (name[1] if isinstance(name, tuple) else name):
            return False
        with suppress(OSError):
            one.getpeername()
            return False
        return True
    except OSError:
        return False
    finally:
        one.detach()  # not closed: that would end the locks, too


def _lock(fd: int) -> int:
    for byte in (0, 1):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except BlockingIOError:
            continue
        except OSError:
            return 0
        return byte
    return 2


_owner = os.getpid()  # a fork starts without metrics of its own
_forget_namesake()
os.register_at_fork(after_in_child=_in_child)
