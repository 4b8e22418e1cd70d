"""The shipped Prometheus configuration on this machine: compose's rules and flags, other targets.

Targets are files that Prometheus watches, so they can be changed while it runs.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
Targets = Mapping[str, Sequence[str]]


def binary(name: str = "prometheus") -> Path | None:
    """The program on $PATH, or the one that tests/stack/build made; None if there is neither."""
    if found := shutil.which(name):
        return Path(found)
    cache = Path(os.environ.get("STACK_CACHE") or Path.home() / ".cache" / "event-rewards")
    return max(cache.glob(f"*/{name}"), default=None)


def configure(directory: Path, targets: Targets) -> Path:
    """Write configuration, rules and targets into `directory`; the configuration's path.

    Jobs without an entry in `targets` are left out: their programs do not run here.
    """
    config: dict[str, Any] = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    jobs = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in jobs:
        for discovery in [key for key in job if key.endswith("_sd_configs")]:
            del job[discovery]
        job.pop("static_configs", None)
        job["file_sd_configs"] = [
            {"files": [str(_target_file(directory, job["job_name"]))], "refresh_interval": "1s"}
        ]
        # minutes are looked at here, not months: the programs around as often as the services
        job["scrape_interval"] = "5s"
    config["scrape_configs"] = jobs
    write_targets(directory, targets)
    shutil.copytree(ROOT / "prometheus" / "rules", directory / "rules", dirs_exist_ok=True)
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def write_targets(directory: Path, targets: Targets) -> None:
    """Set the addresses of these jobs' targets; an empty list leaves a job without targets."""
    for job, addresses in targets.items():
        path = _target_file(directory, job)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps([{"targets": list(addresses)}] if addresses else []))
        draft.replace(path)  # in one step: Prometheus may be reading the file


def _target_file(directory: Path, job: str) -> Path:
    return directory.absolute() / "targets" / f"{job}.json"


def command(directory: Path, port: int, program: Path | None = None) -> list[str]:
    """How to start it on what `configure` wrote; FileNotFoundError if there is no program."""
    if not (program := program or binary()):
        raise FileNotFoundError("prometheus is not built: run tests/stack/build prometheus")
    return [
        str(program),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *compose_flags(),
    ]


def compose_flags() -> list[str]:
    """Prometheus' flags in docker-compose.yml, but those that name paths."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    flags: list[str] = compose["services"]["prometheus"]["command"]
    return [flag for flag in flags if not flag.startswith(("--config.file", "--storage.tsdb.path"))]
