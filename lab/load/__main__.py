"""Load test of what runs, by Locust: with its web page, or headless with thresholds.

Members, sessions, events and rewards are made before the clock starts, so that the platform is
measured and not password hashing.
"""

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from demo.machine import listens
from lab.load.plan import KINDS, MAX_SECONDS, MAX_USERS, Record, Shape, Thresholds, judge, report
from lab.load.prepare import NotReadyError, Stage

ROOT = Path(__file__).resolve().parents[2]
LOCAL = Path(os.environ.get("LOAD_DIRECTORY") or ROOT / ".local")
COMPOSE_URL = "http://127.0.0.1:8000"
PAGE_SECONDS = 2 * 60 * 60  # a forgotten web page ends after this
DEFAULT_SECONDS = {Shape.STEADY: 60, Shape.SPIKE: 60, Shape.SOAK: 600}
LIMITED_NOTE = (
    "{share:.0%} of the requests met a rate limit: this measured the limits. Each member sends an\n"
    "address of its own, which counts only where the sender is trusted: see docs/load-tests.md."
)


def seconds(text: str) -> int:
    """`"90"`, `"90s"` or `"5m"`; ValueError if it is not, or longer than half an hour."""
    match = re.fullmatch(r"(\d{1,6})\s*([sm]?)", text)
    if not match:
        raise ValueError(f"{text!r} is no duration: write 90, 90s or 5m")
    value = int(match[1]) * (60 if match[2] == "m" else 1)
    if not 5 <= value <= MAX_SECONDS:
        raise ValueError(f"a test takes 5 s to {MAX_SECONDS // 60} minutes, not {text}")
    return value


def target(host: str, allowed: str, local: Path = LOCAL) -> str:
    """The gateway to test: the running demo, else compose, else the host that was allowed.

    ValueError for another machine that `allowed` does not name.
    """
    if not host:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads((local / "demo.json").read_text())["services"]["gateway"])
        return COMPOSE_URL
    parts = urlsplit(host if "://" in host else f"http://{host}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{host!r} is no address: write http://HOST:PORT")
    if parts.hostname not in ("127.0.0.1", "::1", "localhost") and parts.hostname != allowed:
        raise ValueError(
            f"{parts.hostname} is not this machine. A load test can take a platform down: "
            f"if it is yours to test, say so with --allow-host {parts.hostname}"
        )
    return f"{parts.scheme}://{parts.netloc}"


def limits(error_ratio: float, p95: list[str]) -> Thresholds:
    """The defaults, changed as told; `p95` has items such as `claim=0.5`."""
    default = Thresholds()
    times = dict(default.p95_s)
    for item in p95:
        kind, _, value = item.partition("=")
        if kind not in times:
            raise ValueError(f"{kind!r} is not one of {', '.join(sorted(set(KINDS.values())))}")
        times[kind] = float(value)
    return Thresholds(error_ratio, times)


def run_locust(plan: dict[str, Any], headless: bool, page_port: int) -> Record:
    """Run it to its end and return what it counted."""
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        # readable by its owner only, as it holds tokens
        results, path = Path(folder, "results.json"), Path(folder, "plan.json")
        path.write_text(json.dumps({**plan, "results": str(results)}))
        command = [sys.executable, "-m", "locust", "-f", "lab/load/journeys.py"]
        command += ["--host", plan["host"], "--stop-timeout", "10", "--exit-code-on-error", "0"]
        if headless:
            command += ["--headless", "--skip-log-setup"]
            patience = plan["duration_s"] + 60
        else:
            command += ["--web-host", "127.0.0.1", "--web-port", str(page_port)]
            patience = PAGE_SECONDS
            print(f"Locust's page: http://127.0.0.1:{page_port} (Start there; Ctrl-C ends it)")
        own = {name: v for name, v in os.environ.items() if not name.startswith("LOCUST_")}
        process = subprocess.Popen(command, cwd=ROOT, env={**own, "LOAD_PLAN": str(path)})
        _wait(process, patience)
        if not results.exists():
            if not headless and process.returncode == 0:
                return Record()
            raise NotReadyError(f"Locust ended with {process.returncode} and counted nothing")
        return Record.read(results.read_text())


def _wait(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Wait until it ends; after Ctrl-C or `patience_s` terminate it, then kill it.

    The terminal sends Ctrl-C to Locust, too: it has 2 s to end by itself.
    """
    steps = ((patience_s, None), (2, process.terminate), (15, process.kill), (None, None))
    for wait_s, then in steps:
        with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            process.wait(wait_s)
            return
        if then:
            then()


def main(  # noqa: PLR0917 - typer gives them by name
    headless: Annotated[bool, typer.Option(help="No page; pass or fail by thresholds")] = False,
    shape: Annotated[Shape, typer.Option(help="Users over time")] = Shape.STEADY,
    users: Annotated[int, typer.Option(min=1, max=MAX_USERS)] = 20,
    duration: Annotated[str, typer.Option(help="90, 90s or 5m; 60 s, a soak 10 m")] = "",
    host: Annotated[str, typer.Option(help="Gateway; default: the demo, else compose")] = "",
    allow_host: Annotated[str, typer.Option(help="Name of a host that is not this one")] = "",
    seed: Annotated[int, typer.Option(help="The same choices again")] = 1,
    members: Annotated[
        int, typer.Option(min=0, max=MAX_USERS, envvar="LOAD_MEMBERS", help="0: one per user")
    ] = 0,
    sign_in: Annotated[
        bool, typer.Option(envvar="LOAD_SIGN_IN", help="Sign-ins under the clock too")
    ] = False,
    max_error_ratio: Annotated[float, typer.Option(min=0, max=1)] = Thresholds().error_ratio,
    p95: Annotated[list[str] | None, typer.Option(help="KIND=SECONDS, e.g. claim=0.5")] = None,
    page_port: Annotated[int, typer.Option(help="Port of Locust's page")] = 8089,
) -> None:
    """Load the running platform. Exit code 1: a threshold was missed; 2: it could not start."""
    try:
        thresholds = limits(max_error_ratio, p95 or [])
        plan = {
            "host": target(host, allow_host),
            "shape": shape.value,
            "users": users,
            "duration_s": seconds(duration) if duration else DEFAULT_SECONDS[shape],
            "seed": seed,
            "run": secrets.token_hex(4),
            "sign_in": sign_in,
        }
        if not headless and listens(page_port):
            raise ValueError(f"port {page_port} is taken: choose another with --page-port")
        print(f"{plan['host']}: {users} users, {shape.value}, {plan['duration_s']} s, seed {seed}")
        stage = Stage(str(plan["host"]), LOCAL)
        made = stage.prepare(plan, min(members or users, users))
        try:
            record = run_locust({**plan, **made}, headless, page_port)
        finally:
            stage.close_events(made)
    except (ValueError, NotReadyError, httpx.HTTPError) as exc:
        print(f"load: {exc}", file=sys.stderr)
        raise SystemExit(2) from None
    verdicts = judge(record, thresholds, shape)
    print(report(record, verdicts))
    limited = sum(n for (_, code), n in record.refusals.items() if code == "rate_limited")
    if limited > 0.05 * record.times.total():
        print(LIMITED_NOTE.format(share=limited / record.times.total()))
    if headless and not all(verdict.ok for verdict in verdicts):
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
